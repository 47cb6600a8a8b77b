"""Timing of the engines that need more than a formula."""
