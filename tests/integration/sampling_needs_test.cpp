#include "casdm/dataset.h"
#include "integration/trained.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// The pixels of all images in a folder.
std::vector<std::vector<std::uint8_t>> pixels_in(const std::filesystem::path& folder) {
  const auto images = make<Dataset>("folder", "path = \"" + folder.string() + "\"", {ImageShape{3, 0, 0}});
  std::vector<std::vector<std::uint8_t>> result;
  for (std::int64_t i = 0; i < images->size(); ++i) result.push_back(images->get(i).image.pixels);
  return result;
}

}  // namespace

TEST_CASE("a run is sampled and evaluated without the components that only train it") {
  const Trained trained(
      "--set 'head={type=\"single\",theta={type=\"unet\",channels=8,channel_mult=[1,2],num_res_blocks=1,"
      "attention_resolutions=[],groups=4},alignment={extractor={type=\"pixels\",size=4},projector_width=8}}' "
      "--set log.sample_count=0");
  const std::string gone = " --set 'head.alignment.extractor={type=\"nobody/nothing\",depth=3}'";
  const Outcome as_it_is = trained.run("casdm sample runs/small --num 2 --out with");
  REQUIRE_MESSAGE(as_it_is.status == 0, as_it_is.err);
  const Outcome sampled = trained.run("casdm sample runs/small --num 2 --out without" + gone);
  REQUIRE_MESSAGE(sampled.status == 0, sampled.err);
  CHECK(pixels_in(trained.folder.path() / "with") == pixels_in(trained.folder.path() / "without"));
  const std::string judged =
      "casdm evaluate runs/small --num 4 --set 'evaluate.judges=[{type=\"pixels\"}]' --set evaluate.reference_num=20";
  const Outcome evaluated = trained.run(judged + gone);
  CHECK_MESSAGE(evaluated.status == 0, evaluated.err);
  // A network is needed, and named where it is missing.
  const Outcome refused = trained.run("casdm sample runs/small --num 2 --out none --set head.theta.type=unett");
  CHECK(refused.status == 2);
  CHECK_MESSAGE(refused.err.find("unett") != std::string::npos, refused.err);
  // A training needs them all.
  const Outcome resumed = trained.run(std::string(kResume) + " --set train.total_images=28" + gone);
  CHECK(resumed.status == 2);
  CHECK_MESSAGE(resumed.err.find("nobody/nothing") != std::string::npos, resumed.err);
}
