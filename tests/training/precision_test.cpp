#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "framework/support/files.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kHead = cascade_head() + "[[metrics]]\ntype = \"l1\"\n";

std::vector<std::string> lowered(bool is_checkpointed, const std::string& total_images = "32") {
  const std::string value = is_checkpointed ? "true" : "false";
  return {"run.precision=bf16",           "head.theta.checkpoint=" + value,
          "head.phi.checkpoint=" + value, "train.total_images=" + total_images,
          "log.sample_every_images=16",   "log.sample_count=2"};
}

std::string digest(const std::filesystem::path& run, const std::string& file) { return sha256_of_file(run / file); }

}  // namespace

TEST_CASE("bf16 with gradient checkpointing trains and draws bitwise as without, whole or resumed") {
  const TemporaryFolder folder;
  const std::filesystem::path plain = folder.path() / "plain";
  run(small_experiment(folder.path(), "plain", kHead, lowered(false)));
  run(small_experiment(folder.path(), "whole", kHead, lowered(true)));
  const Checkpoint half = run(small_experiment(folder.path(), "parts", kHead, lowered(true, "20")));
  resume(small_experiment(folder.path(), "parts", kHead, lowered(true)), half);

  const std::string last = "checkpoints/000000000032/";
  for (const char* name : {"whole", "parts"}) {
    for (const std::string& file :
         {last + "weights.safetensors", last + "ema.safetensors", last + "optimizer.safetensors",
          std::string("samples/16.png"), std::string("samples/32.png")}) {
      CHECK_MESSAGE(digest(folder.path() / name, file) == digest(plain, file), name, "/", file);
    }
  }
}
