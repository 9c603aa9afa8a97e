"""`python -m overlayfs_py` is the `overlayfs-py` command."""

from overlayfs_py.cli.main import main

if __name__ == "__main__":
    main()
