#include "framework/evaluation/earlier_experiments.h"

#include <doctest/doctest.h>

#include "framework/config/document.h"
#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using casdm::testing::TemporaryFolder;

TEST_CASE("before a resume an option has its old value, and is absent where it was") {
  const TemporaryFolder folder;
  write_file(folder.path() / "metrics.jsonl",
             "{\"images\":8}\n"
             "{\"resumed\":true,\"images\":8,\"changed\":{\"optimizer.rate\":{\"from\":5,\"to\":7}}}\n"
             "{\"resumed\":true,\"images\":8,\"changed\":{"
             "\"metrics[0].softness\":{\"from\":null,\"to\":0.5},\"metrics[0].epsilon\":{\"from\":0.1,\"to\":null},"
             "\"metrics[0].weight\":{\"from\":1,\"to\":2},\"optimizer.phi\":{\"from\":null,\"to\":{\"rate\":1}}}}\n"
             "{\"images\":16}\n");
  const Value now = parse_document(
      "metrics = [{ type = \"gap\", weight = 2, softness = 0.5 }]\n[optimizer]\nrate = 3\nphi = { rate = 1 }\n", "now",
      folder.path());
  const std::vector<EarlierExperiment> earlier = earlier_experiments(folder.path(), now, 16);
  REQUIRE(earlier.size() == 1);
  CHECK(earlier[0].when == "until 8 images");
  CHECK(earlier[0].experiment == parse_document("metrics = [{ type = \"gap\", weight = 1, epsilon = 0.1 }]\n"
                                                "[optimizer]\nrate = 3\n",
                                                "then", folder.path()));
}
