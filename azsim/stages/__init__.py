"""The steps of `azsim.pipeline`, one file each; what they join lies on the floors below."""
