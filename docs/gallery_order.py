"""The order of the tutorials."""

from sphinx_gallery.sorting import FileNameSortKey


class ByNumber(FileNameSortKey):
    """By the number in the file's name: plot_10 comes after plot_9."""

    def __call__(self, filename: str) -> int:
        """Return the number."""
        return int(filename.split("_")[1])
