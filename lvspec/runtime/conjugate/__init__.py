"""Conjugate pairs, integrated exactly or as factors of a mean field."""
