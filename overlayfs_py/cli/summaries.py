"""What each command does, in the line that a list of commands has for it, by its module.

They stand here so that a list need not load the commands.
"""

from __future__ import annotations

SUMMARIES = {
    "chroot": "Run a command in layers or an image; changes are thrown away.",
    "completion": "Print a script that completes commands on the TAB key.",
    "doctor": "Say what this machine offers, and what to install.",
    "image": "Look at images, name them, mount them, remove them.",
    "image_cat": "Print a file of an image.",
    "image_diff": "Say which files differ between two images.",
    "image_files": "List the files of an image.",
    "image_history": "Show how an image was made, the last step first.",
    "image_inspect": "Show all there is to say of images, as JSON.",
    "image_ls": "List images.",
    "image_mount": "Mount an image's root filesystem.",
    "image_prune": "Remove images without a name, or all that are not mounted.",
    "image_rm": "Take names away, and images with their last name.",
    "image_tag": "Give an image one more name.",
    "image_tree": "Draw which images share which layers.",
    "import_": "Make an image of one layer from a root filesystem.",
    "layer": "Make packs of layers, look at them, and unpack them.",
    "layer_cat": "Print a file of a pack.",
    "layer_diff": "Say how two packs differ.",
    "layer_info": "Say what a pack holds, and how it was made.",
    "layer_ls": "List what a pack holds.",
    "layer_pack": "Make a pack of a directory or a tar.",
    "layer_unpack": "Make a directory or a tar of a pack.",
    "layer_verify": "Check every byte of packs.",
    "load": "Load images from an archive.",
    "login": "Try a login at a registry, and keep it.",
    "logout": "Forget a login, or all of them.",
    "mount": "Mount a stack of layers.",
    "pull": "Bring an image from its registry into the store.",
    "push": "Bring an image from the store to a registry.",
    "save": "Write images to an archive.",
    "store": "Check a store, measure it, clean it up.",
    "store_df": "Say what a store's room is used for.",
    "store_fsck": "Check a store, and repair it.",
    "store_prune": "Delete what no image needs.",
    "umount": "Unmount; the daemon ends.",
}
