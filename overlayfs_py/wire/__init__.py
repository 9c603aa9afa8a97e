"""The kernel's FUSE protocol as tables and pure functions: bytes in, values out, and back.

No IO, and nothing of what a request means to a filesystem. Source of every number and layout:
Linux include/uapi/linux/fuse.h, protocol 7.45; fs/fuse for what the kernel does with them.
"""
