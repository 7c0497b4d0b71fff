#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "framework/conformance/conformance.h"
#include "framework/device/device.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

TEST_CASE("a CUDA library that is loaded after LibTorch has computed on the CPU is refused with this reason") {
  at::conv2d(at::ones({1, 1, 3, 3}), at::ones({1, 1, 3, 3}));
  const char* const reason =
      "LibTorch computed on the CPU before its CUDA libraries were loaded, so this process can no longer load them";
  CHECK_THROWS_WITH_AS(conformance::test_device("stand-in"), doctest::Contains(reason), Error);
  RunOptions run;
  run.device = "auto";
  const SelectedDevice selected = select_device(run);
  CHECK(selected.device.is_cpu());
  CHECK_MESSAGE(selected.name.find(reason) != std::string::npos, selected.name);
}

TEST_CASE("commands load the CUDA library before LibTorch has computed anything") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), R"([evaluate]
reference_num = 8
[[evaluate.judges]]
type = "random_patches"
metrics = [{type = "sliced_wasserstein"}]
)");
  for (const char* command :
       {"train small.toml --set run.device=cuda --set train.total_images=4",
        "train --resume runs/small --set train.total_images=8", "sample runs/small --num 2 --device cuda --out drawn",
        "evaluate runs/small --num 8 --device cuda", "config check small.toml --set run.device=cuda --cost"}) {
    const Outcome done = shell(std::string("LD_LIBRARY_PATH='" CASDM_LATE_DIR "' casdm ") + command, folder.path());
    CHECK_MESSAGE(done.status == 0, command << ": " << done.err);
    const bool has_device = contains(done.out + done.err, "cuda:0, stand-in");
    CHECK_MESSAGE(has_device, command << ": " << done.out << done.err);
  }
}
