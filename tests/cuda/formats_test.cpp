#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "backbones/networks.h"
#include "casdm/metric_loss.h"
#include "casdm/safetensors.h"
#include "cuda/components.h"
#include "cuda/device.h"
#include "framework/composition/model.h"
#include "metrics/lpips_weights.h"
#include "support/observed.h"
#include "training/small_run.h"
#include "trunks/blur.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr std::pair<const char*, at::MemoryFormat> kFormats[] = {{"contiguous", at::MemoryFormat::Contiguous},
                                                                 {"channels_last", at::MemoryFormat::ChannelsLast}};

struct Found {
  Evaluation evaluation;
  ConvolutionFormats formats;
};

Found evaluated(const std::string& type, Precision precision, const std::string& options) {
  compute_in(precision);
  const auto network = type == "unet" ? small_unet("resblock_updown = true\ndropout = 0.3\n" + options)
                                      : small_edm2("dropout = 0.3\n" + options);
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

struct Measured {
  Tensor distances, gradient;
  ConvolutionFormats formats;
};

Measured measured(const std::string& type, const std::string& options, Precision precision) {
  compute_in(Precision::fp32);
  const auto metric = make<MetricLoss>(type, options, {.image = ImageShape::square(3, 32), .factory = &factory()});
  metric->train(false);
  move_to(*metric, cuda());
  const Tensor x = fill(1, {2, 3, 32, 32}).to(cuda()).requires_grad_(), target = fill(2, {2, 3, 32, 32}).to(cuda());
  Measured result;
  result.formats = formats_of_convolutions([&] {
    const Autocast autocast(cuda(), precision);
    result.distances = (*metric)(x, target);
    result.distances.sum().backward();
  });
  result.distances = result.distances.detach().cpu();
  result.gradient = x.grad();
  return result;
}

}  // namespace

TEST_CASE(
    "in every precision on CUDA the convolutions of a U-Net get the format asked for, and give the same numbers") {
  // Rounding of every layer there and back, as where networks are compared with float64.
  constexpr std::pair<Precision, double> precisions[] = {
      {Precision::fp32, 1e-5}, {Precision::tf32, 1e-2}, {Precision::fp16, 1e-2}, {Precision::bf16, 3e-2}};
  for (const std::string type : {"unet", "edm2_unet"}) {
    for (const auto& [precision, tolerance] : precisions) {
      CAPTURE(type);
      CAPTURE(precision);
      const Found automatic = evaluated(type, precision, "");
      const bool is_last = type == "unet" && precision == Precision::bf16;
      const auto usual = is_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
      CHECK(automatic.formats.images == std::set{usual});
      for (const auto& [word, format] : kFormats) {
        CAPTURE(word);
        const std::string option = std::string("memory_format = \"") + word + "\"\n";
        const Found found = evaluated(type, precision, option);
        CHECK(found.formats.images == std::set{format});
        CHECK(found.formats.kernels == std::set{format});
        // The gradient of LibTorch's group norm, which fp16 needs, is contiguous.
        if (type != "unet" || precision != Precision::fp16) CHECK(found.formats.gradients == std::set{format});
        CHECK(found.evaluation.out.is_contiguous());
        if (format == usual) CHECK(is_equal(found.evaluation, automatic.evaluation));
        CHECK(max_relative_difference(found.evaluation.out.cpu(), automatic.evaluation.out.cpu()) < tolerance);
        CHECK(gradient_difference(found.evaluation, automatic.evaluation) < tolerance);
        if (type != "unet") continue;
        CHECK(is_equal(found.evaluation, evaluated(type, precision, option + "checkpoint = true").evaluation));
      }
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

TEST_CASE("on CUDA the convolutions of a metric's network get the format asked for, and give the same numbers") {
  const MetricUses uses;
  const TemporaryFolder folder;
  const std::string small = (folder.path() / "squeezenet.safetensors").string();
  write_safetensors(small, lpips_state("squeezenet"));
  const std::pair<std::string, std::string> metrics[] = {
      {"lpips", "net = \"squeezenet\"\nweights = \"" + small + "\"\n"},
      {"st_lpips", "net = \"alexnet\"\n"},
      {"dists", ""}};
  for (const auto& [type, options] : metrics) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      CAPTURE(type);
      CAPTURE(precision);
      const Measured contiguous = measured(type, options + "memory_format = \"contiguous\"", precision);
      const Measured last = measured(type, options + "memory_format = \"channels_last\"", precision);
      for (const auto& [found, format] : {std::pair(contiguous, kFormats[0].second), {last, kFormats[1].second}}) {
        CHECK(found.formats.images == std::set{format});
        CHECK(found.formats.kernels == std::set{format});
        CHECK(found.formats.gradients == std::set{format});
        CHECK(found.gradient.is_contiguous());
      }
      // In half precision more activations lie where rounding decides about a ReLU.
      const double distance = max_relative_difference(last.distances, contiguous.distances);
      const double gradient = max_relative_difference(last.gradient.cpu(), contiguous.gradient.cpu());
      CHECK(distance < (precision == Precision::fp32 ? 1e-5 : 3e-2));
      CHECK(gradient < (precision == Precision::fp32 ? 1e-3 : 0.1));
    }
  }
  const auto& [type, options] = metrics[1];
  const Measured automatic = measured(type, options, Precision::fp32);
  CHECK(automatic.formats.images == std::set{at::MemoryFormat::Contiguous});
}

TEST_CASE("a mirrored blur and its gradient are those of float64 in either format on CUDA, and keep the format") {
  for (const std::int64_t stride : {1, 2}) {
    for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>(2, 7), {3, 3}, {7, 4}, {8, 5}}) {
      for (const auto& [word, format] : kFormats) {
        for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
          CAPTURE(stride);
          CAPTURE(rows);
          CAPTURE(columns);
          CAPTURE(word);
          CAPTURE(type);
          const Tensor filter = fill(3, {6, 1, 3, 3}).to(type);
          const Tensor wide = fill(4, {2, 6, rows, columns}).to(type).to(at::kDouble).requires_grad_();
          const Tensor expected = trunks::mirrored_blur(wide, filter.to(at::kFloat), stride, 2);
          const Tensor grad_y = fill(5, expected.sizes()).to(type);
          expected.backward(grad_y.to(at::kDouble));
          const Tensor x = wide.detach().to(type).to(cuda()).contiguous(format).requires_grad_();
          const Tensor y = trunks::mirrored_blur(x, filter.to(at::kFloat).to(cuda()), stride, 2);
          CHECK(y.suggest_memory_format() == format);
          y.backward(grad_y.to(cuda()), true, true);
          const double tolerance = type == at::kFloat ? 1e-6 : 1e-2;  // of some ten roundings, and of one at the end
          CHECK(max_relative_difference(y.detach().cpu(), expected.detach()) < tolerance);
          CHECK(max_relative_difference(x.grad().detach().cpu(), wide.grad()) < tolerance);
        }
      }
    }
  }
}
