"""Writes the files of a folder into a zip that is the same for the same files: pack.py FOLDER ARCHIVE"""

import pathlib
import sys
import zipfile


def main(folder, archive):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(pathlib.Path(folder).iterdir()):
            entry = zipfile.ZipInfo(path.name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
