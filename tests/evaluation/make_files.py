"""Writes the statistics files that the tests read: pickles of NumPy 1 and 2, and NPZ files.

usage: make_statistics.py FOLDER
"""

import os
import pickle
import sys

import numpy as np


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


def moments(size, seed):
    random = np.random.RandomState(seed)
    features = random.standard_normal((3 * size, size))
    return features.mean(0), np.cov(features, rowvar=False)


def main(folder):
    version = np.__version__.split(".")[0]
    mu, sigma = moments(3, 0)
    mu_s, sigma_s = moments(2, 1)
    for protocol in (2, 4, 5):
        with open(f"{folder}/numpy{version}_protocol{protocol}.pkl", "wb") as file:
            pickle.dump({"fid": {"mu": mu, "sigma": np.asfortranarray(sigma)}}, file, protocol=protocol)
    if version == "1":
        with open(f"{folder}/evil.pkl", "wb") as file:
            pickle.dump({"mu": mu, "sigma": Evil()}, file, protocol=4)
        with open(f"{folder}/object.pkl", "wb") as file:
            pickle.dump({"mu": np.array([mu, None], dtype=object), "sigma": sigma}, file, protocol=4)
        images = (np.arange(12 * 4 * 4 * 3) % 251).astype(np.uint8).reshape(12, 4, 4, 3)
        np.savez_compressed(f"{folder}/adm.npz", mu=mu, sigma=sigma.astype(np.float32), mu_s=mu_s,
                            sigma_s=np.asfortranarray(sigma_s), arr_0=images)
        np.savez(f"{folder}/objects.npz", mu=np.array([1, None], dtype=object), sigma=sigma)
    print(repr(mu.tolist()), repr(sigma.tolist()), repr(mu_s.tolist()))


if __name__ == "__main__":
    main(*sys.argv[1:])
