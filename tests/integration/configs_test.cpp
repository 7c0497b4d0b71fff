#include <doctest/doctest.h>

#include <regex>

#include "casdm/safetensors.h"
#include "integration/program.h"
#include "metrics/lpips_weights.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("every shipped config is valid and its networks can be created") {
  const TemporaryFolder folder;
  // The weights of LPIPS and DISTS can be neither shipped nor fetched, so made-up ones are used.
  write_safetensors(folder.path() / "lpips_vgg16.safetensors", lpips_state("vgg16"));
  write_safetensors(folder.path() / "dists_vgg16.safetensors", dists_state());
  int count = 0;
  for (const auto& entry : fs::directory_iterator(source_dir() / "configs")) {
    if (entry.path().extension() != ".toml") continue;
    ++count;
    const std::string path = entry.path().string();
    // Not `check`, which would need the data.
    const Outcome valid = shell("casdm config show '" + path + "'", folder.path());
    CHECK_MESSAGE(valid.status == 0, path << "\n" << valid.err);
    // Shapes of the same size stand in for data that are not shipped.
    const auto first = [&](const std::string& pattern) {
      std::smatch match;
      return std::regex_search(valid.out, match, std::regex(pattern)) ? match[1].str() : "";
    };
    const std::string labels = first("use_labels = (true)").empty() ? "" : ", use_labels=true, label_dropout=0.1";
    const Outcome build =
        shell("CASDM_WEIGHTS_PATH='" + folder.path().string() + "' casdm train '" + path +
                  "' --dry-run --no-cost --set 'data={type=\"shapes\", image_size=" + first("image_size = ([0-9]+)") +
                  labels + "}'",
              folder.path());
    CHECK_MESSAGE(build.status == 0, path << "\n" << build.err);
  }
  CHECK(count >= 12);
}
