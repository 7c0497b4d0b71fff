#include <doctest/doctest.h>

#include "casdm/text.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

TEST_CASE("a new experiment trains as written, only smaller") {
  const TemporaryFolder folder;
  for (const std::string head : {"cascade", "dual", "single"}) {
    const std::string small = head == "cascade" ? "theta phi" : "theta";
    const Outcome outcome = shell(
        text("casdm config init --type head=", head, " --out ", head, ".toml && casdm train ", head,
             ".toml --set run.device=cpu --set run.name=", head, " --set data.image_size=16 --set train.batch_size=2 ",
             "--set train.total_images=2 --set log.sample_count=1 --set sampler.num_inference_steps=2 ",
             "$(for network in ", small, "; do for key in channels=8 channel_mult=[1] num_res_blocks=1 groups=4 ",
             "attention_resolutions=[]; do echo --set head.$network.$key; done; done)"),
        folder.path());
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    CHECK(std::filesystem::exists(folder.path() / "runs" / head / "samples" / "2.png"));
  }
}
