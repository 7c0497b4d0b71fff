#pragma once

// LibTorch's wheel has the header of ProcessGroupGloo, and not those of gloo that it includes. It holds gloo's objects
// by pointers alone, so that names are enough to compile it; framework/distributed/process_group.cpp does.
