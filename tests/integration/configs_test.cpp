#include <doctest/doctest.h>

#include "casdm/safetensors.h"
#include "integration/program.h"
#include "metrics/lpips_weights.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("every shipped config is valid and builds its networks") {
  const TemporaryFolder folder;
  // LPIPS's and DISTS's own weights can be neither shipped nor fetched: made-up ones stand in.
  write_safetensors(folder.path() / "lpips_vgg16.safetensors", lpips_state("vgg16"));
  write_safetensors(folder.path() / "dists_vgg16.safetensors", dists_state());
  int count = 0;
  for (const auto& entry : fs::directory_iterator(source_dir() / "configs")) {
    if (entry.path().extension() != ".toml") continue;
    ++count;
    const std::string path = entry.path().string();
    const Outcome check = shell("casdm config check '" + path + "'", folder.path());
    CHECK_MESSAGE(check.status == 0, path << "\n" << check.err);
    // Where networks are conditioned on labels, their number is the data set's; shapes stand in for it.
    const bool has_labels =
        shell("casdm config show '" + path + "' | grep -q 'use_labels = true'", folder.path()).status == 0;
    const std::string data = has_labels ? " --set 'data={type=\"shapes\", use_labels=true, label_dropout=0.1}'" : "";
    const Outcome build =
        shell("CASDM_WEIGHTS_PATH=\"$PWD\" casdm train '" + path + "' --dry-run" + data, folder.path());
    CHECK_MESSAGE(build.status == 0, path << "\n" << build.err);
  }
  CHECK(count >= 12);
}
