"""Drawing over pictures: text, circumplex, bars, boxes; pictures are uint8 (height, width, 3), BGR.

Functions draw into the picture that they are given, and clip what lies outside.
"""
