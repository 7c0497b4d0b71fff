#include <doctest/doctest.h>

#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("Cas-DM with a perceptual metric learns real CIFAR-10: every term is finite and falls") {
  const auto shared = shared_dir();
  if (!shared) {
    MESSAGE("skipped: there is no ../shared/data/cifar10-jpeg.tar.gz beside this checkout");
    return;
  }
  const TemporaryFolder folder;
  const Outcome train =
      shell("casdm train '" + (source_dir() / "configs/cifar10_casdm_lpips.toml").string() + "' --set data.path='" +
                (*shared / "data/cifar10-jpeg.tar.gz").string() +
                "' --set run.name=c --set run.device=cpu --set train.batch_size=8 --set train.total_images=640 --set "
                "log.every_images=80"
                " --set log.sample_count=0 --set log.sample_every_images=0 --set optimizer.warmup_images=0 --set "
                "optimizer.learning_rate=1e-3"
                " --set head.theta.channels=32 --set head.theta.groups=8 --set head.phi.groups=8 --set "
                "head.theta.num_res_blocks=1 --set head.theta.channel_mult=[1,2]"
                " --set head.phi.channels=32 --set head.phi.num_res_blocks=1 --set head.phi.channel_mult=[1,2]",
            folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  std::istringstream lines(read_file(folder.path() / "runs/c/metrics.jsonl"));
  std::vector<Value> records;
  for (std::string line; std::getline(lines, line);) records.push_back(from_json(line));
  REQUIRE(records.size() == 8);
  const auto mean_of = [&](std::size_t record, const std::string& term) {
    return records[record].find("loss")->find(term)->find("mean")->as_number();
  };
  for (const auto& [name, loss] : records.front().find("loss")->as_table()) {
    const double first = mean_of(0, name);
    const double last = (mean_of(5, name) + mean_of(6, name) + mean_of(7, name)) / 3;
    MESSAGE(name << ": " << first << " -> " << last);
    CHECK_MESSAGE(last < first, name);
  }
}
