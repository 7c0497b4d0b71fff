#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string_view>

#include "backbones/networks.h"
#include "cuda/device.h"
#include "framework/composition/model.h"
#include "framework/training/module_state.h"
#include "support/observed.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kVariants[] = {"", "use_scale_shift_norm = false\ngroups = 8", "groups = 1",
                                 "resblock_updown = true\nnum_heads = 2\ndropout = 0.3"};

std::shared_ptr<Backbone> trained_unet(const std::string& options) {
  auto network = small_unet(options);
  network->train(true);
  return network;
}

Evaluation in_double(const std::string& options) {
  const auto network = trained_unet(options);
  for (auto& [name, parameter] : network->parameters()) parameter.set_data(parameter.detach().to(at::kDouble));
  Input input;
  input.x = input.x.to(at::kDouble);
  input.out_grad = input.out_grad.to(at::kDouble);
  return evaluate(*network, input, with_dropout(5));
}

Evaluation on_device(const std::string& options, at::MemoryFormat format, Precision precision) {
  compute_in(precision);
  const auto network = trained_unet(options);
  move_to(*network, cuda());
  Input input;
  input.x = input.x.to(cuda()).contiguous(format);
  input.t = input.t.to(cuda());
  input.out_grad = input.out_grad.to(cuda());
  const Autocast autocast(cuda(), precision);
  return evaluate(*network, input, with_dropout(5));
}

/// The dtypes of the feature maps that are enlarged in `work`.
template <class Work>
std::set<at::ScalarType> dtypes_enlarged(const Work& work) {
  std::set<at::ScalarType> dtypes;
  const auto note = [&](std::string_view name, c10::ArrayRef<const c10::IValue> arguments) {
    if (name == "aten::upsample_nearest2d") dtypes.insert(arguments[0].toTensor().scalar_type());
  };
  observe_operators(note, work);
  return dtypes;
}

/// The outputs of a U-Net in bf16 before each of some steps of adamw, some of which are not taken, and of its average.
std::vector<Tensor> outputs_in_training(bool has_shadow) {
  compute_in(Precision::bf16);
  const at::Tensor nan = at::full({}, std::nan(""), cuda());
  const std::shared_ptr<Backbone> network = trained_unet(kVariants[0]);
  ModuleState state({"theta", network, true}, optimizer("adamw", "weight_decay = 0.1"), {}, cuda());
  if (!has_shadow) state.forgo_shadow();
  const Input input;
  const Tensor x = input.x.to(cuda()), t = input.t.to(cuda());
  std::vector<Tensor> outputs;
  const auto output = [&] {
    const Autocast autocast(cuda(), Precision::bf16);
    return outputs.emplace_back(network->forward(x, t, {}));
  };
  for (int step = 1; step <= 6; ++step) {
    state.zero_grad();
    output().square().mean().backward();
    state.gather_gradients();
    state.optimizer_step(1e-2, at::ones({}, cuda()), {step, step, 1}, step == 3 ? nan : at::zeros({}, cuda()));
    const at::NoGradGuard no_grad;
    if (step == 4) {
      const Tensor scratch = at::empty_like(state.flat().weights);
      state.swap_ema(scratch);
      output();
      state.swap_ema(scratch);
      output();
    }
    if (step == 5) Tensor(state.parameters().front()).mul_(0.5);
  }
  return outputs;
}

}  // namespace

TEST_CASE("weights that an optimizer writes in bf16 are those that a U-Net casts, whatever changes them") {
  const std::vector<Tensor> written = outputs_in_training(true), cast = outputs_in_training(false);
  REQUIRE(written.size() == cast.size());
  for (std::size_t i = 0; i < cast.size(); ++i) CHECK_MESSAGE(at::equal(written[i], cast[i]), i);
  CHECK(!at::equal(cast[4], cast[5]));  // the average and the weights
}

TEST_CASE("a backward pass through weights in bf16 that have since been written anew is refused") {
  compute_in(Precision::bf16);
  const std::shared_ptr<Backbone> network = trained_unet(kVariants[0]);
  ModuleState state({"theta", network, true}, optimizer("adamw"), {}, cuda());
  const Input input;
  const auto loss = [&] {
    const Autocast autocast(cuda(), Precision::bf16);
    return network->forward(input.x.to(cuda()), input.t.to(cuda()), {}).square().mean();
  };
  const auto step = [&] {
    state.gather_gradients();
    state.optimizer_step(1e-2, at::ones({}, cuda()), {1, 1, 1});
  };
  loss().backward();
  step();
  const Tensor earlier = loss();
  loss().backward();
  step();
  CHECK_THROWS_WITH_AS(earlier.backward(), doctest::Contains("modified by an inplace operation"), c10::Error);
}

TEST_CASE("every U-Net enlarges its feature maps in the precision of the run on CUDA") {
  Backbone::Spec spec;
  spec.image.height = spec.image.width = 8;
  for (const std::string type : {"unet", "edm2_unet"}) {
    const std::string options = type == "unet" ? kSmall : "channels = 8\nchannel_mult = [1, 2]\nnum_head_channels = 8";
    const auto network = make<Backbone>(type, options, spec);
    move_to(*network, cuda());
    const Input input;
    const Tensor x = input.x.to(cuda()), t = input.t.to(cuda());
    const auto enlarged = [&](Precision precision) {
      const Autocast autocast(cuda(), precision);
      return dtypes_enlarged([&] { network->forward(x, t, {}); });
    };
    CAPTURE(type);
    CHECK((enlarged(Precision::fp32) == std::set{at::kFloat}));
    CHECK((enlarged(Precision::bf16) == std::set{at::kBFloat16}));
  }
}

TEST_CASE("a U-Net on CUDA has the outputs and gradients of float64, whatever its format and precision") {
  // Rounding through some twenty layers there and back: 170 roundings of float32 (2^-24), 8 of bfloat16 (2^-8).
  constexpr std::pair<Precision, double> precisions[] = {{Precision::fp32, 1e-5}, {Precision::bf16, 3e-2}};
  for (const std::string& options : kVariants) {
    const Evaluation exact = in_double(options);
    for (const at::MemoryFormat format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
      for (const auto& [precision, tolerance] : precisions) {
        const Evaluation found = on_device(options, format, precision);
        const double difference = max_relative_difference(found.out.cpu(), exact.out);
        const double of_gradients = gradient_difference(found, exact);
        CHECK_MESSAGE(difference < tolerance, options << ", " << to_string(precision));
        CHECK_MESSAGE(of_gradients < tolerance, options << ", " << to_string(precision));
        MESSAGE(options << ", " << to_string(precision) << ", format " << static_cast<int>(format)
                        << ": outputs differ by " << difference << ", gradients by " << of_gradients);
        CHECK(is_equal(found, on_device(options, format, precision)));
      }
    }
  }
}
