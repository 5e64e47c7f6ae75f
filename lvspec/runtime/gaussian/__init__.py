"""Gaussian latents, integrated exactly: linear-Gaussian chains, joint Gaussians."""
