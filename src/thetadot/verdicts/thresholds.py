"""Thresholds between findings, each with its reason."""

from __future__ import annotations

FEW = 3
"""Fewer measurements than this make no finding certain: one of a drifting quantity may be anything."""

# The noise scale against the batch size.

HALF_LIFE = 0.25
"""Share of the run after which a noise measurement weighs half: the noise scale grows while training, and it is the
present one that decides what to do next."""
NEAR = 2.0
"""Within this factor of the noise scale a batch is balanced: E/E_min and S/S_min are then both between 1.5 and 3."""
WASTEFUL = 4.0
"""Batch over noise scale above which samples are wasted: 80% of them are beyond what the progress needs."""
SPENDTHRIFT = 16.0
"""The same, bad: 94%."""
SMALL = 8.0
"""Noise scale over batch above which steps are: nine times as many steps as a large batch would need."""

# Sharpness against the optimizer's limit.

START = 0.1
"""The first tenth of a run is its start: sharpness falls to what the step tolerates within it, or the loss is lost."""
USUAL_BETA2 = 0.999
"""Adam's β₂ where a record has none."""
AVERAGED = 0.1
"""Share of the memory 1/(1-β₂) after which P⁻¹H is judged, or of a shorter run. Of a perceptron and a convolution under
Adam λmax(P⁻¹H) was up to 10⁴ times its later value at step 10, up to 130 times at step 27, up to 1.5 times at 110;
one reading of 32 from 110 on, at 220, was 30 times those around it."""
RECENT = 0.25
"""The last quarter of the measurements is what a run is now."""
ABOVE = 1.3
"""Sharpness over limit: descent on the whole data hovers between 1 and about 1.2 (2103.00065); above that it grows."""
AT = 0.8
"""From here to ABOVE is the edge itself: a reference batch's sharpness is within 20% or so of the data's."""
SAMPLES = 256
"""Reference samples below which no finding from curvature is certain. On the digits' network λmax of 256 was 1.02 to
1.18 times the data's, give or take 2 to 30%; of 128 up to 1.4, of 32 up to 2.3."""
HANDFUL = 32
"""Below this many λmax is the samples' own: of 8 it was 1.5 to 4 times the data's."""
FAIR = 64
"""Samples below which a curvature may show room, never harm."""
CLOSE = 0.4
"""From here to AT a doubled lr would be unstable."""
GREW = 1.0
"""A loss that rose by more than this share of where it began has run away."""
FELL = 0.5
"""A loss that had come below this share of where it began, and is back there, is lost: it sank to chance."""
STUCK = 0.02
"""A loss that is within this share of where it began, or above, has not been lowered."""
CURVE = 8
"""Losses needed to speak of their course."""
END = 0.1
"""The first and the last tenth of the losses, whose medians are compared."""
EARLIEST = 5
"""Losses, or a hundredth of them, whose median a run begins with: after that the best runs have fallen already."""
SILENT = 3
"""So many steps at the end without a finite loss, after steps with one, mean that it was lost; fewer too, where losses
were never missing for as long before."""

STRETCHES = 2000
"""So many stretches of a long record's losses are told apart where its course is smoothed."""

FLOOR = 0.01
"""Weight of a reading while the loss did not fall, all such together."""

# Damping.

LIGHT = 0.05
"""Damping ratio below which a direction rings: momentum .9 at a tenth of the critical step has .16, .999 has .002."""
MEMORY = 0.1
"""Share of the run that the velocity may remember, 1/(1-β) steps: more, and the run is one swing."""

# Pace.

OVER = 1 / 3
"""Below it at the first measurement the present lr is above the best, which rules take it for."""
WARM = 0.5
"""Measurements at less than this share of the largest lr are of warm-up or annealing and say nothing of pace."""

# Stationarity.

COLD = 0.1
"""A temperature below this share of the run's highest: the annealing is under way."""
EARLY = 0.5
"""Stationary for more than this share of the run: the step was too hot for what was left to learn."""

# What lost a loss.

USUAL = 0.9
"""The usual momentum: its memory of 10 steps is short beside any run that is worth watching."""
FORGETS = 0.5
"""Share of the run that a velocity's memory has to reach to be wrong whatever the loss does."""
LEAST = 0.5
"""A momentum that would have to be below this is not what was wrong alone; then the usual one is proposed."""
STRIDE = 0.02
"""An adaptive method's first step over the length of the weights, to aim at: Adam's default lr gives 1.6% on the
digits' network, whose best lr gives 8 to 16%; a run that is lost at 800% is to be brought back first."""
TENFOLD = 10.0
"""How much to lower an lr where nothing measured says how much."""

# Advice.

SAFE = 0.5
"""Share of the stability limit to aim at: sharpness still grows, and a mini-batch's is about 1.5 times as large."""
THREEFOLD = 3.0
"""How much to raise an lr where a straight path says that it is small and the bound does not say how much."""
COOLING = 8.0
"""How many times cooler, where a stationary run is to go on: three doublings of the batch size."""

# What a run does, of sixteen small tasks (benchmarks/advice.py); by the half that chooses, but for SHORT_REACH.

GAINED = 0.03
"""Share of the fall of the loss that came in the last two thirds of the steps: below it three times the steps, or the
lr, would gain as little again. Runs at a tenth of the best lr had .06 to .8, right ones that were learned out .02;
right ones that were cut short had up to .24, so that it says nothing alone."""
NEARER = 0.12
"""The same, times the step over the length below which it is small: the nearer to that, the more has to have come late.
A perceptron at its best lr with AdamW had .065 and .084 at three quarters of that length, a GRU at
a tenth .13 and .19."""
MOSTLY = 0.1
"""The same of descent where no curvature was measured: a transformer at its best had .08 and .1 however short its steps
were, the same at a tenth of its lr .4; two others at a tenth had .04 and are passed over."""
LEFT = 0.02
"""A loss, none of them negative, that has come to this share of its fall leaves less than that to gain."""
LARGELY = 0.2
"""From here on the loss is as if three times the lr were three times the steps, and ten times may be tried."""
ROOM = 0.04
"""Sharpness over limit, times 1 + B_n/B, at most, before an lr is called small: of right runs it was .046 to .35 at the
first reading, of a tenth of their lr .005 to .036."""
ROOM_UNSEEN = 0.01
"""The same where no noise was measured: a factorisation at its best had .004, others .017 to .29."""
SHORT = 0.035
"""An adaptive method's first step over the length of the weights, median over layers, before its lr is called small: of
right runs .05 to .29, of a tenth of their lr .005 to .029."""
SHORT_REACH = 0.03
"""The same of descent where no curvature was measured, over 1-β. Of right runs .11 to .52, of a tenth of their lr .011
to .052, on the half that sets thresholds, which would allow .06; it was lowered after the other half was seen, where
three of eight right settings were below .06, and one, of .003, still is."""
LONG = 0.4
"""The same, above which it is called large where the loss shows harm: ten times the right lr had .52 to 2.9."""
USUAL_STRIDE = 0.1
"""What it usually is."""
EVEN = 0.5
"""The same of a batch so small that it is noise that throws."""
SCATTERED = 0.1
"""Scatter of a step's loss around its trend, over the fall, that may be harm: right runs had 0 to .07, but on noisy
data .24 to .4 whatever their lr, so that it says nothing alone."""
ROSE = 0.1
"""A loss that rose above its start by this share of its fall shows that the first steps were too long."""
THROWN = 5.0
"""Distance from the start over the length that the weights had there: right runs had .4 to 3.6, ten times too long
steps 3.8 to 66."""
FLUNG = 20.0
"""So far that ten times is not too much."""
QUICK = 200.0
"""A run of fewer steps is short of steps, where its loss still falls."""
LARGE = 64.0
"""A batch below this is not advised to be smaller: steps would take as long as before, and be more."""
SMALLEST_BATCH = 16.0
"""No batch below this is advised: a processor takes as long for fewer samples."""
EIGHTFOLD = 8.0
"""How much to change a batch at a time."""
VANISHED = 1e-6
"""A layer's gradient over its first one, at which nothing reaches it any more."""
ALIVE = 1e-3
"""The same of another layer, which shows that the loss has not vanished."""
REST = 0.5
"""Share of the layers that have to have lost their gradient."""
TURNED = 0.05
"""Rise of the validation loss above its lowest, as a share of what it had fallen, from which a run overfits."""
JUMP = 0.3
"""A spike is a loss above the run's trend by this share of the fall so far, and by eight times its usual scatter."""
DEVIATIONS = 8.0
