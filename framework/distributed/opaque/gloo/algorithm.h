#pragma once

// LibTorch's wheel contains the header of ProcessGroupGloo, but not the gloo headers that it includes. It holds gloo's
// objects only by pointer, so declarations are enough to compile framework/distributed/process_group.cpp.
