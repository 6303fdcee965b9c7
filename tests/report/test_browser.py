"""A browser draws the page and complains about nothing."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from thetadot import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_picture_is_drawn_and_the_console_is_silent(make, whole, tmp_path, mode):
    make(whole)
    page = report.write(tmp_path)
    seen = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         f"--user-data-dir={tmp_path / 'profile'}",
         "--dump-dom", "--virtual-time-budget=8000", "--enable-logging=stderr", "--v=0", f"{page.as_uri()}#{mode}"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    plots = re.findall(r'<div class="plot"[^>]*>(.{0,40})', seen.stdout)
    assert len(plots) == 13
    assert all("bk-Figure" in inside for inside in plots), "a plot without a drawing"
    assert f'data-mode="{mode}"' in seen.stdout
    spoken = [line for line in seen.stderr.splitlines() if "CONSOLE" in line and "document idle" not in line]
    assert spoken == []
