#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <fstream>

#include "casdm/backbone.h"
#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "casdm/weight_layout.h"
#include "framework/config/document.h"
#include "framework/interchange/recorded_options.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "interchange/layouts.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// U-Nets that UNet2DModel can represent.
std::vector<NetworkCase> unets() {
  const std::string base = "groups = 8\nchannels = 16\nnum_res_blocks = 1\n";
  return {
      {"legacy_heads", base + "channel_mult = [1, 2]\nattention_resolutions = [8]\nnum_head_channels = 8\n",
       spec_of(3, 3, 0)},
      {"new_heads",
       base +
           "channel_mult = [1, 2]\nattention_resolutions = [16, 8]\nnum_head_channels = 8\nattention_order = \"new\"\n",
       spec_of(3, 6, 0)},
      {"added_time",
       base + "channel_mult = [1, 2, 4]\nattention_resolutions = []\nnum_heads = 4\nuse_scale_shift_norm = false\n",
       spec_of(1, 1, 0)},
      {"one_head", base + "channel_mult = [1, 2]\nattention_resolutions = [16, 8]\n", spec_of(3, 3, 0)},
      {"updown_class",
       base + "channel_mult = [1, 1.5, 2]\nattention_resolutions = [8, 4]\nnum_head_channels = 8\nresblock_updown = "
              "true\n",
       spec_of(3, 3, 7)},
      {"single_level",
       base + "channel_mult = [1]\nattention_resolutions = [16]\nnum_heads = 2\nconv_resample = false\n",
       spec_of(3, 3, 0)},
  };
}

/// @param order  of q, k and v, for the layout to read; empty: not given
std::shared_ptr<WeightLayout> diffusers_layout(const std::string& order = "") {
  return make<WeightLayout>("diffusers", order.empty() ? "" : "attention_order = \"" + order + "\"\n", {});
}

ForeignWeights exported(const NetworkCase& network) { return diffusers_layout()->write(weights_of("unet", network)); }

}  // namespace

TEST_CASE("an imported UNet2DModel of diffusers computes what diffusers computes") {
  const fs::path file = parity_dir() / "diffusers_unet.safetensors";
  if (!fs::exists(file)) {
    MESSAGE("no ", file.string(), ": diffusers' U-Nets are not compared");
    return;
  }
  at::NoGradGuard no_grad;
  const TensorFile golden = read_safetensors(file);
  const Value cases = from_json(golden.metadata.at("cases"));
  REQUIRE_FALSE(cases.as_array().empty());
  for (const Value& item : cases.as_array()) {
    const std::string key = item.find("key")->as_string();
    CAPTURE(key);
    const ForeignWeights peer = golden_model(item);
    for (const std::string order : {"legacy", "new"}) {
      const BackboneWeights model = diffusers_layout(order)->read(peer);
      Condition condition;
      if (golden.contains(key + ".y")) condition.labels = golden.at(key + ".y");
      const Tensor out = network_of("unet", model)->forward(golden.at(key + ".x"), golden.at(key + ".t"), condition);
      const double difference = max_relative_difference(out, golden.at(key + ".out"));
      MESSAGE(key, ", attention ", order, ": largest relative difference ", difference);
      CHECK(difference < 1e-5);
      // And back: the same tensors, and a config that describes the same network.
      const ForeignWeights back = diffusers_layout()->write(model);
      check_equal(back.tensors, peer.tensors);
      CHECK(to_toml(diffusers_layout(order)->read(back).options) == to_toml(model.options));
      for (const auto& [name, value] : back.config.as_table()) {
        const Value* theirs = peer.config.find(name);
        if (name == "_class_name" || name == "attn_norm_num_groups" || theirs == nullptr) continue;
        CHECK_MESSAGE(
            (to_json(*theirs) == to_json(value) || (value.is_number() && theirs->as_number() == value.as_number())),
            name);
      }
    }
  }
}

TEST_CASE("export to diffusers and import are inverses of each other, bitwise") {
  for (const NetworkCase& network : unets()) {
    CAPTURE(network.name);
    const BackboneWeights own = weights_of("unet", network);
    const std::string order = own.options.find("attention_order")->as_string();
    const BackboneWeights back = diffusers_layout(order)->read(exported(network));
    check_equal(back.tensors, own.tensors);
    check_equal(detached(*network_of("unet", back)), own.tensors);
  }
}

TEST_CASE("the order of q, k and v affects the exported weights if there are several heads") {
  NetworkCase network = unets().front();
  const ForeignWeights legacy = exported(network);
  network.options += "attention_order = \"new\"\n";
  const ForeignWeights other = exported(network);
  int different = 0;
  for (std::size_t i = 0; i < legacy.tensors.size(); ++i) {
    REQUIRE(legacy.tensors[i].first == other.tensors[i].first);
    different += !at::equal(legacy.tensors[i].second, other.tensors[i].second);
  }
  CHECK(different > 0);
}

TEST_CASE("what UNet2DModel cannot represent is refused with every reason") {
  const auto refused = [](const std::string& options, const char* why) {
    CAPTURE(options);
    CHECK_THROWS_WITH_AS(exported({"", "groups = 8\nchannels = 16\nnum_res_blocks = 1\n" + options, spec_of(3, 3, 0)}),
                         doctest::Contains(why), ConfigError);
  };
  const std::string two = "channel_mult = [1, 2]\nattention_resolutions = [16]\n";
  refused(two + "conv_resample = false\n", "conv_resample is false");
  refused(two + "timestep_scale = 0.25\n", "timestep_scale is not 1");
  refused(two + "num_heads = 2\n", "heads have different widths");
  refused("channel_mult = [2]\nattention_resolutions = []\n", "the first width, 32, is not `channels` = 16");
  refused(two + "conv_resample = false\ntimestep_scale = 0.25\n", "timestep_scale");
}

TEST_CASE("a model of diffusers that is not such a U-Net is refused with every reason") {
  const ForeignWeights good = exported(unets().front());
  const auto refused = [&](const char* key, const Value& value, const char* why) {
    ForeignWeights bad = good;
    bad.config.set(key, value);
    CAPTURE(key);
    CHECK_THROWS_WITH_AS(diffusers_layout("legacy")->read(bad), doctest::Contains(why), Error);
  };
  refused("_class_name", "UNet2DConditionModel", "_class_name is \"UNet2DConditionModel\"");
  refused("freq_shift", 1, "freq_shift is 1, not 0");
  refused("flip_sin_to_cos", false, "flip_sin_to_cos is false, not true");
  refused("downsample_padding", 0, "downsample_padding is 0");
  refused("norm_eps", 1e-6, "norm_eps");
  refused("resnet_time_scale_shift", "spatial", "resnet_time_scale_shift is spatial");
  refused("attn_norm_num_groups", Value(), "norm of the middle's attention");
  refused("upsample_type", "resnet", "in different ways");
  refused("down_block_types", Value::Array{"SkipDownBlock2D", "AttnDownBlock2D"}, "SkipDownBlock2D");
  refused("block_out_channels", Value::Array{16, -32}, "out of range");
  refused("layers_per_block", std::int64_t{1} << 40, "out of range");
  refused("layers_per_block", 2, "has no tensor");
  refused("attention_head_dim", 7, "attention_head_dim 7");
  refused("block_out_channels", "wide", "has \"wide\" as block_out_channels, which is not an array");
  refused("block_out_channels", Value::Array{16, "wide"}, "block_out_channels is \"wide\", not a whole number");
  refused("layers_per_block", Value::Array{1, 1}, "layers_per_block is [1,1], not a whole number");
  refused("attention_head_dim", Value::Array{8, 8}, "attention_head_dim is [8,8], not a whole number");
  refused("down_block_types", Value::Array{1, "AttnDownBlock2D"}, "down_block_types is 1, not a string");
  refused("downsample_type", 1, "downsample_type is 1, not a string");
  refused("sample_size", Value::Array{16, 8}, "sample_size is [16,8], not square");
  refused("sample_size", Value::Array{}, "sample_size is [], not square");
  refused("sample_size", "large", "sample_size is \"large\", not a whole number");
  ForeignWeights square = good;
  square.config.set("sample_size", Value::Array{16, 16});
  CHECK(diffusers_layout("legacy")->read(square).spec.image.height == 16);
  ForeignWeights more = good;
  more.tensors.emplace_back("more", at::zeros({1}));
  CHECK_THROWS_WITH_AS(diffusers_layout("legacy")->read(more), doctest::Contains("a tensor too many: \"more\""), Error);
  for (std::size_t i = 0; i < good.tensors.size(); ++i) {
    ForeignWeights reshaped = good;
    reshaped.tensors[i].second = at::zeros({5});
    CHECK_THROWS_AS(diffusers_layout("legacy")->read(reshaped), Error);
    reshaped.tensors[i].second = at::zeros({});
    CHECK_THROWS_AS(diffusers_layout("legacy")->read(reshaped), Error);
  }
}

TEST_CASE("a damaged entry of a file's metadata is refused with the file and the entry") {
  CHECK_THROWS_WITH_AS(
      recorded_options({{"option.num_heads", "4"}, {"option.attention_order", "new"}}, "w.safetensors"),
      doctest::Contains("w.safetensors: the metadata \"option.attention_order\" is damaged: not JSON"), Error);
}

TEST_CASE("exporting and importing a run's weights gives them back, bitwise, in both layouts") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto run = [&](const std::string& line) {
    const Outcome outcome = shell(line, folder.path());
    REQUIRE_MESSAGE(outcome.status == 0, line << "\n" << outcome.err);
    return outcome.out;
  };
  run("casdm train small.toml --set head.theta.num_head_channels=4");
  const fs::path checkpoint = folder.path() / "runs/small/checkpoints/000000000024";
  for (const std::string weights : {"ema", "raw"}) {
    run("casdm export runs/small --module theta --out " + weights + ".safetensors --weights " + weights);
    run("casdm import " + weights + ".safetensors --out " + weights + "2.safetensors");
    run("casdm export " + checkpoint.string() + " --module theta --out " + weights + " --layout diffusers --weights " +
        weights);
    run("casdm import " + weights + " --out " + weights + "3.safetensors");
    const TensorFile saved =
        read_safetensors(checkpoint / (weights == "ema" ? "ema.safetensors" : "weights.safetensors"));
    for (const char* number : {"", "2", "3"}) {
      const TensorFile file = read_safetensors(folder.path() / (weights + number + ".safetensors"));
      CHECK(file.metadata.at("option.attention_order") == "\"legacy\"");
      CHECK(file.metadata.at("option.num_heads") == "4");  // in every attention, which has 16 channels
      std::size_t count = 0;
      for (const auto& [name, tensor] : saved.tensors) {
        if (!name.starts_with("theta.")) continue;
        ++count;
        CHECK_MESSAGE(at::equal(file.at(name.substr(6)), tensor), name);
      }
      CHECK(count == file.tensors.size());
    }
  }
  // What diffusers writes instead of the one safetensors file.
  const fs::path whole = folder.path() / "ema/diffusion_pytorch_model.safetensors";
  const TensorFile all = read_safetensors(whole);
  const auto middle = all.tensors.begin() + 5;
  const auto imported = [&](int status, const std::string& part) {
    const Outcome outcome =
        shell("casdm import ema --overwrite --out other.safetensors --set attention_order=legacy", folder.path());
    CHECK_MESSAGE(outcome.status == status, outcome.err);
    CHECK_MESSAGE(contains(outcome.err, part), outcome.err);
    if (status != 0) return;
    const TensorFile file = read_safetensors(folder.path() / "other.safetensors");
    const TensorFile expected = read_safetensors(folder.path() / "ema3.safetensors");
    CHECK(file.tensors.size() == expected.tensors.size());
    for (const auto& [name, tensor] : expected.tensors) CHECK_MESSAGE(at::equal(file.at(name), tensor), name);
  };
  const fs::path half = whole.parent_path() / "diffusion_pytorch_model.fp16.safetensors";
  fs::rename(whole, half);
  imported(1, "found diffusion_pytorch_model.fp16.safetensors: rename it");
  fs::rename(half, whole.parent_path() / "diffusion_pytorch_model.bin");
  imported(0, "");
  fs::remove(whole.parent_path() / "diffusion_pytorch_model.bin");
  imported(1, "expected diffusion_pytorch_model.safetensors or diffusion_pytorch_model.bin, or an index of parts");
  write_safetensors(whole.parent_path() / "part-1", {all.tensors.begin(), middle});
  write_safetensors(whole.parent_path() / "part-2", {middle, all.tensors.end()});
  Value parts{Value::Table{}};
  for (std::size_t i = 0; i < all.tensors.size(); ++i) parts.set(all.tensors[i].first, text("part-", i < 5 ? 1 : 2));
  const auto write_index = [&] {
    write_file(whole.string() + ".index.json", to_json(Value(Value::Table{{"weight_map", parts}})));
  };
  write_index();
  imported(0, "");
  parts.set(all.tensors[7].first, "part-1");
  write_index();
  imported(1,
           text("part-1 lacks \"", all.tensors[7].first, "\", which diffusion_pytorch_model.safetensors.index.json "));
  parts.set(all.tensors[7].first, "../ema/part-2");
  write_index();
  imported(1, "expected the name of a file beside it; got \"../ema/part-2\"");
  {
    std::fstream file(folder.path() / "raw/diffusion_pytorch_model.safetensors");
    file.seekp(-1, std::ios::end);
    file.put('\x55');
  }
  const Outcome started =
      shell("casdm train small.toml --set run.name=b --set 'init=[{module=\"theta\",from=\"ema\"}]'", folder.path());
  CHECK(started.status == 2);
  CHECK_MESSAGE(started.err.find("`casdm import` makes a safetensors file") != std::string::npos, started.err);
  const Outcome flipped = shell("casdm import raw --out x --set attention_order=legacy", folder.path());
  CHECK(flipped.status == 1);
  CHECK_MESSAGE(flipped.err.find("SHA-256") != std::string::npos, flipped.err);
  // The network in the file has other heads: the export recorded its own.
  const Outcome other = shell("casdm import ema.safetensors --out x --config small.toml --module theta", folder.path());
  CHECK(other.status == 2);
  CHECK_MESSAGE(other.err.find("num_heads = 4, head.theta has 1") != std::string::npos, other.err);

  const auto refused = [&](const std::string& arguments, const char* why) {
    const Outcome outcome = shell("casdm export " + arguments, folder.path());
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(outcome.err.find(why) != std::string::npos, outcome.err);
  };
  refused("runs/small --module psi --out x", "no module \"psi\"; it has phi, theta");
  refused("runs/small --module theta --out ema", "--overwrite");
  refused("runs/small --module theta --out x --layout onnx",
          "the layouts of theta are reference, adm, diffusers; got \"onnx\"");
  refused("runs/small --module theta", "--out");
  run("casdm train small.toml --set run.name=gated --set head.gate_detach_trunk=true --set train.total_images=4");
  refused("runs/gated --module phi --out x --layout diffusers", "such a network has no \"gate_network.");
  CHECK_FALSE(fs::exists(folder.path() / "x"));
  CHECK(run("casdm export --help").find("usage: casdm export") != std::string::npos);
}

TEST_CASE("a checkpoint whose experiment lacks the size of its images is refused by name") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  REQUIRE(shell("casdm train small.toml --set train.total_images=4", folder.path()).status == 0);
  const fs::path state = folder.path() / "runs/small/checkpoints/000000000004/state.json";
  std::string json = read_file(state);
  const std::string size = "\"image_size\": 16";
  const std::size_t at = json.find(size);
  REQUIRE(at != std::string::npos);
  for (const std::string& other : {std::string("\"image_sizf\": 16"), std::string("\"image_size\": \"\"")}) {
    write_file(state, std::string(json).replace(at, size.size(), other));
    write_file(state.string() + ".sha256", sha256_of_file(state) + "  state.json\n");
    const Outcome outcome = shell("casdm export runs/small --module theta --out theta.safetensors", folder.path());
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(
        outcome.err.find("000000000004: its experiment has no data.image_size; it is damaged") != std::string::npos,
        outcome.err);
  }
}

TEST_CASE("exports for diffusers itself to load, where CASDM_EXPORT_DIR asks for them") {
  export_for_diffusers("unet", *diffusers_layout(), unets(), false);
}

TEST_CASE("a number and a width of heads that mean the same network are accepted as equal") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto run = [&](const std::string& line) { return shell("casdm " + line, folder.path()); };
  const auto succeeds = [&](const std::string& line) {
    const Outcome outcome = run(line);
    CHECK_MESSAGE(outcome.status == 0, line << "\n" << outcome.err);
  };
  // Every attention has 16 channels.
  succeeds("train small.toml --set head.theta.num_heads=2 --set train.total_images=4");
  succeeds("export runs/small --module theta --out peer --layout diffusers");
  succeeds("export runs/small --module theta --out own.safetensors");
  const std::string config = " --config runs/small/config.toml --module theta";
  succeeds("import peer --out peer.safetensors --set attention_order=legacy" + config);
  const std::string init =
      "train small.toml --overwrite --set run.name=init --set train.total_images=4 --set "
      "'init=[{module=\"theta\",from=\"";
  for (const std::string file : {"peer", "own"}) {
    const std::string from = init + file + ".safetensors\"}]' --set head.theta.";
    succeeds(from + "num_heads=2");
    succeeds(from + "num_head_channels=8");
    for (const std::string other : {"num_heads=4", "num_head_channels=4"}) {
      const Outcome refused = run(from + other);
      CHECK_MESSAGE(refused.status == 2, refused.err);
      CHECK_MESSAGE(refused.err.find("num_heads = 2, head.theta has 4") != std::string::npos, refused.err);
    }
  }
}
