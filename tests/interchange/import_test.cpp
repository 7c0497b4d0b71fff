#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "casdm/backbone.h"
#include "casdm/safetensors.h"
#include "framework/interchange/weight_layouts.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "interchange/torch_files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// The network of write_small_config, filled.
NamedTensors small_state() {
  Backbone::Spec spec;
  spec.image.height = spec.image.width = 16;
  const auto network = make<Backbone>(
      "unet", "channels = 8\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = [8]\ngroups = 4\n",
      spec);
  fill_state(network->parameters());
  NamedTensors result;
  for (const auto& [name, tensor] : network->parameters()) result.emplace_back(name, tensor.detach());
  return result;
}

/// Writes a legacy .pt file of float32 tensors, as PyTorch would.
void write_torch(const fs::path& path, const NamedTensors& tensors) {
  using namespace pickled;
  std::vector<std::pair<std::string, std::string>> items;
  std::vector<Numbers> storages;
  for (const auto& [name, tensor_of] : tensors) {
    const Tensor flat = tensor_of.contiguous();
    const float* data = flat.data_ptr<float>();
    storages.push_back({std::to_string(storages.size()), {data, data + flat.numel()}});
    std::vector<std::int32_t> sizes(flat.sizes().begin(), flat.sizes().end());
    std::vector<std::int32_t> strides(flat.strides().begin(), flat.strides().end());
    items.emplace_back(
        name, tensor(storage(storages.back().key, static_cast<std::int32_t>(flat.numel())), 0, sizes, strides));
  }
  write_bytes(path, legacy_file(dict(items), storages));
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("weights saved by PyTorch are imported bitwise, described, and trained from") {
  const TemporaryFolder folder;
  const NamedTensors tensors = small_state();
  write_torch(folder.path() / "openai.pt", tensors);
  write_small_config(folder.path(), "[[init]]\nmodule = \"theta\"\nfrom = \"theta.safetensors\"\nfreeze = true\n");

  const Outcome import = shell(
      "casdm import openai.pt --out theta.safetensors --set attention_order=legacy --config small.toml --module theta",
      folder.path());
  REQUIRE_MESSAGE(import.status == 0, import.err);
  CHECK(has(import.out, "PyTorch legacy (before 1.6)"));
  CHECK(has(import.out, "type = \"unet\"\n"));
  CHECK(has(import.out, "channel_mult = [1.0, 2.0]\n"));
  CHECK(has(import.out, "attention_resolutions = [8]\n"));
  CHECK(has(import.out, "attention_order = \"legacy\"\n"));
  CHECK(import.out.ends_with("theta.safetensors\n"));
  const TensorFile file = read_safetensors(folder.path() / "theta.safetensors");
  REQUIRE(file.tensors.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) CHECK_MESSAGE(at::equal(file.at(name), tensor), name);

  const Outcome train = shell("casdm train small.toml", folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  const TensorFile trained =
      read_safetensors(folder.path() / "runs/small/checkpoints/000000000024/weights.safetensors");
  for (const auto& [name, tensor] : tensors) CHECK_MESSAGE(at::equal(trained.at("theta." + name), tensor), name);

  // An imported file is also a source, and keeps what was recorded about it.
  const Outcome again = shell("casdm import theta.safetensors --out copy.safetensors", folder.path());
  REQUIRE_MESSAGE(again.status == 0, again.err);
  CHECK(read_file(folder.path() / "copy.safetensors") == read_file(folder.path() / "theta.safetensors"));
  CHECK(
      shell("casdm import theta.safetensors --out other.safetensors --set attention_order=new", folder.path()).status ==
      2);
}

TEST_CASE("the order of q, k and v must be given, is recorded, and is compared with the network's") {
  const TemporaryFolder folder;
  write_torch(folder.path() / "openai.pt", small_state());
  write_small_config(folder.path(), "[[init]]\nmodule = \"theta\"\nfrom = \"theta.safetensors\"\n");
  const Outcome silent = shell("casdm import openai.pt --out theta.safetensors", folder.path());
  CHECK(silent.status == 2);
  CHECK(has(silent.err, "--set attention_order=legacy or --set attention_order=new"));
  CHECK_FALSE(fs::exists(folder.path() / "theta.safetensors"));

  const Outcome compared = shell(
      "casdm import openai.pt --out theta.safetensors --set attention_order=new --config small.toml --module theta",
      folder.path());
  CHECK(compared.status == 2);
  CHECK(has(compared.err, "attention_order = \"new\", head.theta has \"legacy\""));
  CHECK_FALSE(fs::exists(folder.path() / "theta.safetensors"));

  REQUIRE(shell("casdm import openai.pt --out theta.safetensors --set attention_order=new", folder.path()).status == 0);
  const Outcome train = shell("casdm train small.toml", folder.path());
  CHECK(train.status == 2);
  CHECK(has(train.err, "attention_order = \"new\", head.theta has \"legacy\""));
  const Outcome agreed =
      shell("casdm train small.toml --set head.theta.attention_order=new --set run.name=agreed", folder.path());
  CHECK_MESSAGE(agreed.status == 0, agreed.err);
}

TEST_CASE("weights that do not fit the network are listed and not written") {
  const TemporaryFolder folder;
  NamedTensors tensors = small_state();
  const std::string missing = tensors[3].first, reshaped = tensors[5].first;
  tensors[5].second = at::zeros({2, 2});
  tensors.erase(tensors.begin() + 3);
  tensors.emplace_back("surplus.weight", at::zeros({2}));
  write_torch(folder.path() / "other.pt", tensors);
  write_small_config(folder.path());
  const Outcome outcome =
      shell("casdm import other.pt --out theta.safetensors --config small.toml --module theta", folder.path());
  CHECK(outcome.status == 2);
  CHECK(has(outcome.err, "Give head.theta in small.toml the options of the network that was trained, or leave"));
  CHECK(has(outcome.err, "missing " + missing));
  CHECK(has(outcome.err, reshaped + " has shape [2, 2]"));
  CHECK(has(outcome.err, "unexpected \"surplus.weight\""));
  CHECK_FALSE(fs::exists(folder.path() / "theta.safetensors"));
  // A network with unknown names is imported as it is, with the reason why it is not a known one.
  const Outcome alone = shell("casdm import other.pt --out theta.safetensors", folder.path());
  CHECK_MESSAGE(alone.status == 0, alone.err);
  CHECK(has(alone.err, "although it resembles one"));
}

TEST_CASE("a layout that fails at weights, or is sure of them beyond 1, is left out with a warning") {
  class Faulty final : public WeightLayout {
   public:
    explicit Faulty(double confidence) : confidence_(confidence) {}
    WeightLayoutInfo info() const override { return {}; }
    LayoutMatch recognise(const ForeignWeights&) const override {
      if (confidence_ == 0) throw Error("nothing is known");
      return {confidence_, ""};
    }
    BackboneWeights read(const ForeignWeights&) const override { return {}; }
    ForeignWeights write(const BackboneWeights&) const override { return {}; }

   private:
    double confidence_;
  };
  const auto is_left_out = [](double confidence) {
    FoundLayout found;
    found.type = "mine/faulty";
    found.layout = {std::make_shared<Faulty>(confidence), ComponentConfig{"mine/faulty", Value()}};
    return !recognised(found, {}).has_value();
  };
  CHECK_FALSE(is_left_out(1));
  CHECK(is_left_out(0));
  CHECK(is_left_out(1.5));
  CHECK(is_left_out(std::nan("")));
}

TEST_CASE("a file without tensors is refused") {
  const TemporaryFolder folder;
  write_safetensors(folder.path() / "empty.safetensors", {}, {});
  const Outcome outcome = shell("casdm import empty.safetensors --out out.safetensors", folder.path());
  CHECK(outcome.status == 1);
  CHECK_MESSAGE(has(outcome.err, "empty.safetensors holds no tensors"), outcome.err);
  CHECK_FALSE(fs::exists(folder.path() / "out.safetensors"));
}

TEST_CASE("weights are compared without what only a training needs") {
  const TemporaryFolder folder;
  write_torch(folder.path() / "openai.pt", small_state());
  write_small_config(folder.path());
  // The weights of the extractor are not there.
  write_file(folder.path() / "aligned.toml",
             "include = [\"small.toml\"]\nhead = {type = \"single\", theta = {type = \"unet\", channels = 8, "
             "channel_mult = [1, 2], num_res_blocks = 1, "
             "attention_resolutions = [8], groups = 4}, alignment = {extractor = {type = \"inception\", weights = "
             "\"none.safetensors\"}, tap = \"middle\"}}\n");
  const Outcome outcome = shell(
      "casdm import openai.pt --out theta.safetensors --set attention_order=legacy --config aligned.toml --module "
      "theta",
      folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
}

TEST_CASE("a prefix is removed, and wrong use of import is reported") {
  const TemporaryFolder folder;
  NamedTensors tensors;
  for (const auto& [name, tensor] : small_state()) tensors.emplace_back("module." + name, tensor);
  tensors.emplace_back("other", at::zeros({1}));
  write_torch(folder.path() / "parallel.pt", tensors);
  const Outcome outcome =
      shell("casdm import parallel.pt --out a.safetensors --strip module. --set attention_order=legacy", folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(has(outcome.out, "# attention_resolutions: give --image-size"));
  CHECK(read_safetensors(folder.path() / "a.safetensors").tensors.size() == tensors.size() - 1);

  const auto refused = [&](const std::string& arguments, int status, const std::string& why) {
    CAPTURE(arguments);
    const Outcome wrong = shell("casdm import " + arguments, folder.path());
    CHECK(wrong.status == status);
    CHECK_MESSAGE(has(wrong.err, why), wrong.err);
  };
  refused("parallel.pt --out b.safetensors --strip none.", 2, "\"none.\"");
  refused("parallel.pt --out a.safetensors", 2, "--overwrite");
  refused("parallel.pt --out b.safetensors --strip module. --set attention_order=newest", 2,
          "attention_order: expected one of \"legacy\", \"new\", got \"newest\"");
  refused("parallel.pt --out b.safetensors --strip module. --set attenton_order=new", 2, "attention_order");
  refused("parallel.pt --out b.safetensors --set attention_order=new", 2, "no layout found recognises parallel.pt");
  refused("parallel.pt --out b.safetensors --image-size 64", 2, "--image-size is for the layout of the weights");
  refused("parallel.pt --out b.safetensors --attention new", 2,
          "an option of the weight layout adm: give --set attention_order=...");
  refused(". --out b.safetensors", 1, "is a folder that no weight layout found recognises");

  refused("parallel.pt --out b.safetensors --config small.toml", 2, "go together");
  refused("parallel.pt", 2, "--out");
  refused("none.pt --out b.safetensors", 1, "none.pt is not a file");
  refused("parallel.pt --out b.safetensors --key ema", 2, "no state \"ema\"");
  CHECK(has(shell("casdm import --help", folder.path()).out, "usage: casdm import"));
  CHECK_FALSE(fs::exists(folder.path() / "b.safetensors"));
}

TEST_CASE("weights that contain NaN are refused with the tensor, wherever they come from") {
  const TemporaryFolder folder;
  NamedTensors tensors = small_state();
  write_small_config(folder.path());
  REQUIRE(shell("casdm train small.toml --set train.total_images=4", folder.path()).status == 0);
  tensors[3].second = tensors[3].second.clone();
  tensors[3].second.view({-1})[1] = std::nan("");
  write_torch(folder.path() / "diverged.pt", tensors);
  NamedTensors prefixed;
  for (const auto& [name, tensor] : tensors) prefixed.emplace_back("theta." + name, tensor);
  write_safetensors(folder.path() / "diverged.safetensors", prefixed);
  const std::string init =
      "casdm train small.toml --set run.name=init --set "
      "'init=[{module=\"theta\",from=\"diverged.safetensors\"}]'";
  for (const std::string& command :
       {std::string("casdm import diverged.pt --out out.safetensors --set attention_order=legacy"),
        std::string("casdm import diverged.safetensors --strip theta. --out out.safetensors --set attention_order=new"),
        init,
        std::string("casdm export runs/small --module theta --weights diverged.safetensors --out out.safetensors")}) {
    const Outcome outcome = shell(command, folder.path());
    CHECK_MESSAGE(outcome.status == 1, command << "\n" << outcome.err);
    CHECK_MESSAGE(has(outcome.err, "the tensor \"" + tensors[3].first + "\" holds NaN, in 1 of "), outcome.err);
    CHECK_FALSE(fs::exists(folder.path() / "out.safetensors"));
  }
  tensors[3].second.view({-1})[1] = INFINITY;
  write_torch(folder.path() / "infinite.pt", tensors);
  const Outcome infinite =
      shell("casdm import infinite.pt --out out.safetensors --set attention_order=legacy", folder.path());
  CHECK_MESSAGE(infinite.status == 0, infinite.err);
  CHECK_MESSAGE(has(infinite.err, "\"" + tensors[3].first + "\" holds infinite numbers"), infinite.err);
}

TEST_CASE("what a file of weights says cannot control the terminal") {
  using namespace pickled;
  const TemporaryFolder folder;
  const std::string rude = "\x1b]0;title\x07";
  const std::string one = tensor(storage("0", 1), 0, {1}, {1});
  const Numbers number = {"0", {1.0F}};
  write_bytes(folder.path() / "one.pt", legacy_file(dict({{rude, dict({{"a" + rude, one}})}}), {number}));
  write_bytes(folder.path() / "two.pt",
              legacy_file(dict({{rude, dict({{"a", one}})}, {"b", dict({{"a", one}})}}), {number}));
  for (const char* file : {"one.pt", "two.pt"}) {
    const Outcome outcome =
        shell(std::string("casdm import ") + file + " --overwrite --out out.safetensors", folder.path());
    CHECK_MESSAGE(has(outcome.out + outcome.err, "title"), outcome.out << outcome.err);
    CHECK_FALSE(has(outcome.out + outcome.err, "\x1b"));
    CHECK_FALSE(has(outcome.out + outcome.err, "\x07"));
  }
}
