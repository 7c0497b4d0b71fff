"""Makes the torch.save files beside this script, with the PyTorch that runs it: python make_files.py

zip.pt and legacy.pt hold one state in both formats; nested.pt a training state with two of them.
"""

import pathlib
from collections import OrderedDict

import torch

folder = pathlib.Path(__file__).parent / "files"
whole = torch.arange(24.0).reshape(4, 6)
state = OrderedDict(
    whole=whole,
    transposed=whole.t(),
    part=whole[1:3, ::2],
    half=(torch.arange(5) / 4).half(),
    bfloat16=(torch.arange(5) / 4).bfloat16(),
    double=torch.arange(3).double() / 3,
    long=torch.arange(-2, 2),
    bool=torch.tensor([True, False]),
    scalar=torch.tensor(2.5),
    empty=torch.empty(0, 4),
    parameter=torch.nn.Parameter(torch.ones(2)),
)
network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
torch.save(state, folder / "zip.pt")
torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
torch.save({"model": network.state_dict(), "ema": {"net": network.state_dict()}, "step": 3, "lr": 1e-4, "name": "x"},
           folder / "nested.pt", pickle_protocol=4)
