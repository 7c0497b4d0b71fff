#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "backbones/networks.h"
#include "cuda/device.h"
#include "framework/composition/model.h"
#include "support/observed.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr std::pair<const char*, at::MemoryFormat> kFormats[] = {{"contiguous", at::MemoryFormat::Contiguous},
                                                                 {"channels_last", at::MemoryFormat::ChannelsLast}};

struct Found {
  Evaluation evaluation;
  ConvolutionFormats formats;
};

Found evaluated(Precision precision, const std::string& options) {
  compute_in(precision);
  const auto network = small_unet("resblock_updown = true\ndropout = 0.3\n" + options);
  move_to(*network, cuda());
  Input input;
  input.x = input.x.to(cuda());
  input.t = input.t.to(cuda());
  input.out_grad = input.out_grad.to(cuda());
  Found found;
  const Autocast autocast(cuda(), precision);
  found.formats = formats_of_convolutions([&] { found.evaluation = evaluate(*network, input, with_dropout(5)); });
  return found;
}

}  // namespace

TEST_CASE(
    "in every precision on CUDA the convolutions of a U-Net get the format asked for, and give the same numbers") {
  // Rounding of every layer there and back, as where networks are compared with float64.
  constexpr std::pair<Precision, double> precisions[] = {
      {Precision::fp32, 1e-5}, {Precision::tf32, 1e-2}, {Precision::fp16, 1e-2}, {Precision::bf16, 3e-2}};
  for (const auto& [precision, tolerance] : precisions) {
    CAPTURE(precision);
    const Found automatic = evaluated(precision, "");
    const auto usual = precision == Precision::bf16 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    CHECK(automatic.formats.images == std::set{usual});
    for (const auto& [word, format] : kFormats) {
      CAPTURE(word);
      const std::string option = std::string("memory_format = \"") + word + "\"\n";
      const Found found = evaluated(precision, option);
      CHECK(found.formats.images == std::set{format});
      CHECK(found.formats.kernels == std::set{format});
      // The gradient of LibTorch's group norm, which fp16 needs, is contiguous.
      if (precision != Precision::fp16) CHECK(found.formats.gradients == std::set{format});
      CHECK(found.evaluation.out.is_contiguous());
      if (format == usual) CHECK(is_equal(found.evaluation, automatic.evaluation));
      CHECK(max_relative_difference(found.evaluation.out.cpu(), automatic.evaluation.out.cpu()) < tolerance);
      CHECK(gradient_difference(found.evaluation, automatic.evaluation) < tolerance);
      if (precision == Precision::fp16) continue;
      CHECK(is_equal(found.evaluation, evaluated(precision, option + "checkpoint = true").evaluation));
    }
  }
}

TEST_CASE("runs in either format have the same losses on CUDA, and resume to the bit") {
  const TemporaryFolder folder;
  for (const std::string precision : {"fp32", "bf16"}) {
    CAPTURE(precision);
    const auto made = [&](const std::string& name, const std::string& format, const std::string& images) {
      return small_experiment(
          folder.path(), precision + name, cascade_head(),
          on_cuda({"run.precision=" + precision, "head.theta.memory_format=" + format,
                   "head.phi.memory_format=" + format, "train.total_images=" + images, "log.every_images=4"}));
    };
    run(made("auto", "auto", "8"));
    for (const auto& [word, format] : kFormats) {
      CAPTURE(word);
      const Checkpoint whole = run(made(word, word, "8"));
      const auto expected = records(folder.path() / (precision + "auto")),
                 found = records(folder.path() / (precision + word));
      REQUIRE(found.size() == expected.size());
      CHECK(difference(found.back(), expected.back()).loss < (precision == "fp32" ? 1e-3 : 0.03));
      const std::string parted = std::string(word) + "-parted";
      const Checkpoint half = run(made(parted, word, "4"));
      const Checkpoint end = resume(made(parted, word, "8"), half);
      const auto weights = tensors(whole, "weights.safetensors"), again = tensors(end, "weights.safetensors");
      REQUIRE(!weights.empty());
      for (const auto& [name, weight] : weights) CHECK_MESSAGE(at::equal(weight, again.at(name)), name);
    }
  }
}
