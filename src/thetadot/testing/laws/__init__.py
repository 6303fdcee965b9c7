"""The laws, one file a subject."""
