#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"
#include "framework/training/log_file.h"
#include "metrics/lpips_weights.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kHead = cascade_head() + "[[metrics]]\ntype = \"ssim\"\nwarmup_images = 20\nt_range = [0.0, 0.7]\n";

/// The numbers without those that a clock determines.
std::string numbers(const Checkpoint& checkpoint) {
  Value result = checkpoint.numbers();
  for (const char* key : {"seconds", kLogMark}) result.set(key, 0);
  return to_json(result);
}

void check_equal(const Checkpoint& a, const Checkpoint& b) {
  CHECK(numbers(a) == numbers(b));
  for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    CHECK_MESSAGE(sha256_of_file(a.path() / file) == sha256_of_file(b.path() / file), file);
  }
}

}  // namespace

TEST_CASE("a run stopped and resumed is bitwise the uninterrupted run") {
  const TemporaryFolder folder;
  const Checkpoint whole = run(small_experiment(folder.path(), "whole", kHead));
  const Checkpoint half = run(small_experiment(folder.path(), "parts", kHead, {"train.total_images=12"}));
  CHECK(half.images() == 12);
  check_equal(resume(small_experiment(folder.path(), "parts", kHead), half), whole);
}

TEST_CASE("a truncated or altered checkpoint is refused and the others are named") {
  const TemporaryFolder folder;
  const Checkpoint last = run(small_experiment(folder.path(), "run", kHead));
  const auto file = last.path() / "ema.safetensors";
  const std::string content = read_file(file);

  write_file(file, content.substr(0, content.size() - 100));
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path() / "run"), doctest::Contains("is truncated"), Error);
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path() / "run"), doctest::Contains("other checkpoints of the run"),
                       Error);

  std::string flipped = content;
  flipped[flipped.size() - 5] = static_cast<char>(flipped[flipped.size() - 5] ^ 1);
  write_file(file, flipped);
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path() / "run"), doctest::Contains("is altered"), Error);

  std::filesystem::remove(file);
  CHECK_THROWS_WITH_AS(Checkpoint::open(folder.path() / "run"), doctest::Contains("is missing"), Error);
}

TEST_CASE("only the newest checkpoints are kept") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "run", single_head(), {"checkpoint.every_images=4", "checkpoint.keep_last=2"}));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "run" / "checkpoints")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"000000000028", "000000000032"});
}

TEST_CASE("a module can start from another run and stay frozen") {
  const TemporaryFolder folder;
  const Checkpoint theta = run(small_experiment(folder.path(), "theta", single_head()));
  const std::string init =
      "[[init]]\nmodule = \"theta\"\nfrom = \"" + (folder.path() / "theta").string() + "\"\nfreeze = true\n";
  const Checkpoint phi = run(small_experiment(folder.path(), "phi", kHead + init));
  const auto average = tensors(theta, "ema.safetensors");
  for (const auto& [name, tensor] : tensors(phi, "weights.safetensors")) {
    if (name.starts_with("theta.")) CHECK_MESSAGE(at::equal(tensor, average.at(name)), name);
  }
}

TEST_CASE("a module starts only with the options with which its weights were trained") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "theta", single_head(), {"train.total_images=4"}));
  const std::string init = "[[init]]\nmodule = \"theta\"\nfrom = \"" + (folder.path() / "theta").string() + "\"\n";
  const auto start = [&](const std::string& name, const std::string& set) {
    run(small_experiment(folder.path(), name, kHead + init, {"train.total_images=4", set}));
  };
  CHECK_THROWS_WITH_AS(start("heads", "head.theta.num_heads=2"), doctest::Contains("num_heads = 1, head.theta has 2"),
                       ConfigError);
  CHECK_THROWS_WITH_AS(start("scale", "head.theta.timestep_scale=10"),
                       doctest::Contains("timestep_scale = 1.0, head.theta has 10.0"), ConfigError);
  CHECK_NOTHROW(start("dropout", "head.theta.dropout=0.0"));
}

TEST_CASE("a metric whose weights file was replaced is refused at a resume, unless that is allowed") {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "lpips_alexnet.safetensors";
  NamedTensors weights = lpips_state("alexnet");
  write_safetensors(file, weights);
  const std::string metric = "[[metrics]]\ntype = \"lpips\"\nnet = \"alexnet\"\nresize = 64\nweights = \"";
  const std::string toml = single_head() + metric + file.string() + "\"\n";
  const auto experiment = [&](int images, const std::vector<std::string>& more = {}) {
    std::vector<std::string> settings = {text("train.total_images=", images), "checkpoint.every_images=4"};
    settings.insert(settings.end(), more.begin(), more.end());
    return small_experiment(folder.path(), "run", toml, settings);
  };
  const Checkpoint at_4 = run(experiment(4));
  resume(experiment(8), at_4);
  NamedTensors larger = weights;
  for (auto& [name, tensor] : larger) {
    if (name.starts_with("lin")) tensor = 3 * tensor;
  }
  write_safetensors(file, larger);
  CHECK_THROWS_WITH_AS(resume(experiment(12), Checkpoint::open(folder.path() / "run")),
                       doctest::Contains("the weights of metric.lpips are not those"), Error);
  NamedTensors others = weights;
  for (auto& [name, tensor] : others) {
    if (tensor.dim() == 4) tensor = -tensor;
  }
  write_safetensors(file, others);
  const auto newest = [&] { return Checkpoint::open(folder.path() / "run"); };
  CHECK_THROWS_WITH_AS(resume(experiment(12), newest()), doctest::Contains("the weights of metric.lpips are not those"),
                       Error);
  RunFolder again = RunFolder::open(folder.path() / "run");
  train(experiment(12), again, newest(), /*allow_other_data=*/true);
  CHECK(read_file(folder.path() / "run/metrics.jsonl").find("\"other_networks\"") != std::string::npos);
  // Back to the first weights from before a checkpoint that was lost: the results of the others are set aside, not
  // removed.
  write_safetensors(file, weights);
  std::filesystem::remove_all(folder.path() / "run/checkpoints/000000000012");
  resume(experiment(12), newest());
  CHECK(read_file(folder.path() / "run/set-aside-1/metrics.jsonl").find("\"other_networks\"") != std::string::npos);
  resume(experiment(16), newest());
  // Changing the host's options for a metric does not make it another; naming another file does.
  write_safetensors(file, others);
  CHECK_THROWS_WITH_AS(resume(experiment(20, {"metrics.0.resize=72", "metrics.0.weight=0.2"}), newest()),
                       doctest::Contains("the weights of metric.lpips are not those"), Error);
  const std::filesystem::path other = folder.path() / "other.safetensors";
  write_safetensors(other, others);
  CHECK_NOTHROW(resume(experiment(20, {"metrics.0.weights=\"" + other.string() + "\""}), newest()));
}

TEST_CASE("keys absent when a checkpoint was made are named when they keep it from fitting") {
  const TemporaryFolder folder;
  const Checkpoint half = run(small_experiment(folder.path(), "run", single_head(), {"train.total_images=4"}));
  const LoadedExperiment more = small_experiment(folder.path(), "run", single_head(),
                                                 {"head.alignment={extractor={type=\"pixels\"},projector_width=8}"});
  CHECK_THROWS_WITH_AS(resume(more, half), doctest::Contains("head.alignment"), Error);
}

TEST_CASE("a run with a frozen module, stopped and resumed, is bitwise the uninterrupted run") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "theta", single_head(), {"train.total_images=8"}));
  const std::string toml =
      kHead + "[[init]]\nmodule = \"theta\"\nfrom = \"" + (folder.path() / "theta").string() + "\"\nfreeze = true\n";
  const Checkpoint whole = run(small_experiment(folder.path(), "whole", toml));
  const Checkpoint half = run(small_experiment(folder.path(), "parts", toml, {"train.total_images=12"}));
  // The weights that a module starts from are only needed at the start.
  std::filesystem::remove_all(folder.path() / "theta");
  check_equal(resume(small_experiment(folder.path(), "parts", toml), half), whole);
}

TEST_CASE("a frozen module has no dropout, as in sampling") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "theta", single_head(), {"train.total_images=8"}));
  const std::string toml =
      kHead + "[[init]]\nmodule = \"theta\"\nfrom = \"" + (folder.path() / "theta").string() + "\"\nfreeze = true\n";
  const Checkpoint with = run(small_experiment(folder.path(), "with", toml));
  const Checkpoint without = run(small_experiment(folder.path(), "without", toml, {"head.theta.dropout=0.0"}));
  CHECK(sha256_of_file(with.path() / "weights.safetensors") == sha256_of_file(without.path() / "weights.safetensors"));
}

TEST_CASE("a teacher has the dropout of the network that it follows") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "source", single_head(), {"optimizer.learning_rate=1e-2"}));
  const std::string toml = "[head]\ntype = \"consistency\"\nfirst_steps = 1000\nlast_steps = 1000\n" +
                           single_head().substr(single_head().find("[head.theta]")) +
                           "[[init]]\nmodule = \"theta\"\nfrom = \"" + (folder.path() / "source").string() + "\"\n";
  const auto loss = [&](const std::string& dropout) {
    run(small_experiment(folder.path(), dropout, toml,
                         {"train.total_images=4", "log.every_images=4", "head.theta.dropout=" + dropout}));
    const Value line = records(folder.path() / dropout).back();
    return find_path(line, "loss.consistency.mean")->as_number();
  };
  // At times this close to one another, only different dropout makes the two networks differ much.
  const double without = loss("0.0"), with = loss("0.5");
  MESSAGE("loss without dropout ", without, ", with ", with);
  CHECK(with < 2 * without);
}

TEST_CASE("a module that was frozen cannot be trained after a resume, nor the other way round") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "theta", single_head(), {"train.total_images=8"}));
  const std::string init = "[[init]]\nmodule = \"theta\"\nfrom = \"" + (folder.path() / "theta").string() + "\"\n";
  const Checkpoint frozen =
      run(small_experiment(folder.path(), "frozen", kHead + init + "freeze = true\n", {"train.total_images=12"}));
  CHECK_THROWS_WITH_AS(resume(small_experiment(folder.path(), "frozen", kHead + init), frozen),
                       doctest::Contains("module theta is trained in this experiment, and was frozen when"),
                       ConfigError);
  const Checkpoint trained = run(small_experiment(folder.path(), "trained", kHead + init, {"train.total_images=12"}));
  CHECK_THROWS_WITH_AS(
      resume(small_experiment(folder.path(), "trained", kHead + init, {"head.train_mode=frozen_theta"}), trained),
      doctest::Contains("module theta is frozen in this experiment, and was trained when"), ConfigError);
}

TEST_CASE("if an optimizer keeps state in only one of two experiments, the option that changed is named") {
  const TemporaryFolder folder;
  const auto sgd = [&](const std::string& name, const std::string& momentum) {
    return small_experiment(folder.path(), name, single_head(),
                            {"optimizer={type=\"sgd\",learning_rate=1e-3}", "optimizer.momentum=" + momentum});
  };
  const Checkpoint with = run(sgd("with", "0.9"));
  CHECK_THROWS_WITH_AS(resume(sgd("with", "0.0"), with),
                       doctest::Contains("the optimizer of module theta keeps no state as it is set now"), ConfigError);
  CHECK_THROWS_WITH_AS(resume(sgd("with", "0.0"), with), doctest::Contains("optimizer.momentum: 0.9 -> 0.0"),
                       ConfigError);
  const Checkpoint without = run(sgd("without", "0.0"));
  CHECK_THROWS_WITH_AS(resume(sgd("without", "0.9"), without), doctest::Contains("or had an optimizer without state"),
                       ConfigError);
}

TEST_CASE("a changed key that makes another network is refused and named") {
  const TemporaryFolder folder;
  const std::vector<std::string> labels = {"data.use_labels=true"};
  const Checkpoint plain = run(small_experiment(folder.path(), "plain", single_head(), labels));
  CHECK_THROWS_WITH_AS(
      resume(small_experiment(folder.path(), "plain", single_head(), {labels[0], "data.label_dropout=0.1"}), plain),
      doctest::Contains("data.label_dropout: 0.0 -> 0.1"), Error);
}

TEST_CASE("modules started and frozen in every combination resume bitwise, with parts of a batch and one norm") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "source", cascade_head(), {"train.total_images=8"}));
  const auto init = [&](const char* module, bool freeze) {
    return "[[init]]\nmodule = \"" + std::string(module) + "\"\nfrom = \"" + (folder.path() / "source").string() +
           "\"\nfreeze = " + (freeze ? "true" : "false") + "\n";
  };
  const std::vector<std::string> split = {"train.accumulate=2", "optimizer.grouping=joint", "head.phi.checkpoint=true"};
  int count = 0;
  for (const bool theta : {true, false}) {
    for (const bool phi : {true, false}) {
      if (theta && phi) continue;
      CAPTURE(theta);
      CAPTURE(phi);
      const std::string toml = kHead + init("theta", theta) + init("phi", phi);
      const std::string whole_name = "whole" + std::to_string(count), parts_name = "parts" + std::to_string(count);
      ++count;
      const Checkpoint whole = run(small_experiment(folder.path(), whole_name, toml, split));
      std::vector<std::string> first = split;
      first.emplace_back("train.total_images=12");
      const Checkpoint half = run(small_experiment(folder.path(), parts_name, toml, first));
      check_equal(resume(small_experiment(folder.path(), parts_name, toml, split), half), whole);
    }
  }
}

TEST_CASE("a resumed run with another batch size continues at the image where it stopped") {
  const TemporaryFolder folder;
  const std::vector<std::string> still = {"optimizer.learning_rate=1e-30", "log.every_images=4",
                                          "train.total_images=12"};
  std::vector<std::string> longer = still;
  longer.insert(longer.end(), {"train.batch_size=8", "train.total_images=20"});
  const Checkpoint half = run(small_experiment(folder.path(), "changed", cascade_head(), still));
  CHECK(resume(small_experiment(folder.path(), "changed", cascade_head(), longer), half).images() == 20);
  longer.back() = "train.total_images=32";
  run(small_experiment(folder.path(), "eights", cascade_head(), longer));
  const Value fourth = records(folder.path() / "changed").back();
  const Value other = records(folder.path() / "eights").back();
  CHECK(fourth.find("step")->as_integer() == 4);
  CHECK(other.find("step")->as_integer() == 4);
  // Images 13 to 20 in one, 25 to 32 in the other, with the same noise.
  const auto loss = [](const Value& record) { return record.find("loss")->find("x0")->find("mean")->as_number(); };
  CHECK(loss(fourth) != loss(other));
}

TEST_CASE("a run that starts over with another experiment keeps the records of the earlier one") {
  const TemporaryFolder folder;
  const auto experiment = [&](const std::string& rate) {
    return small_experiment(folder.path(), "run", single_head(),
                            {"train.total_images=16", "optimizer.learning_rate=" + rate});
  };
  run(experiment("1e-3"));
  const std::filesystem::path path = folder.path() / "run";
  const auto start_over = [&](const std::string& rate) {
    for (const auto& [images, checkpoint] : Checkpoint::all(RunFolder::open(path)))
      std::filesystem::remove_all(checkpoint);
    RunFolder again = RunFolder::open(path);
    train(experiment(rate), again, std::nullopt);
    return records(path);
  };
  // With the original settings: the same lines again, and nothing else.
  CHECK(start_over("1e-3").size() == 2);
  CHECK_FALSE(std::filesystem::exists(path / "set-aside-1"));
  const std::vector<Value> other = start_over("5e-4");
  REQUIRE(other.size() == 3);
  CHECK(other[0].find("resumed")->as_boolean());
  CHECK(other[0].find("images")->as_integer() == 0);
  CHECK(other[0].find("changed")->find("optimizer.learning_rate") != nullptr);
  CHECK(records(path / "set-aside-1").size() == 2);
  CHECK(start_over("5e-4").size() == 3);
  CHECK_FALSE(std::filesystem::exists(path / "set-aside-2"));
}

TEST_CASE("the records of a training on other data are kept when the run continues with its own") {
  const TemporaryFolder folder;
  const std::filesystem::path images = folder.path() / "images", path = folder.path() / "run";
  std::filesystem::create_directory(images);
  for (const char* name : {"a.png", "b.png", "c.png"}) {
    write_png(images / name, to_image(fill(7, {3, 16, 16}).mul(100).add(100).to(at::kByte)));
  }
  const LoadedExperiment experiment = small_experiment(
      folder.path(), "run", single_head(), {"data={type=\"folder\",path=\"" + images.string() + "\",image_size=16}"});
  run(experiment);
  const auto from_first = [&](bool allow_other_data) {
    std::filesystem::remove_all(path / "checkpoints/000000000032");
    RunFolder again = RunFolder::open(path);
    train(experiment, again, Checkpoint::open(path), allow_other_data);
    return records(path);
  };
  from_first(false);
  CHECK_FALSE(std::filesystem::exists(path / "set-aside-1"));
  std::filesystem::rename(images / "c.png", folder.path() / "c.png");
  const std::vector<Value> other = from_first(true);
  CHECK(std::filesystem::exists(path / "set-aside-1/metrics.jsonl"));
  const auto mark =
      std::find_if(other.rbegin(), other.rend(), [](const Value& line) { return line.find("resumed") != nullptr; });
  REQUIRE(mark != other.rend());
  REQUIRE(mark->find("other_data") != nullptr);
  CHECK(mark->find("other_data")->as_string().find("2 images instead of 3") != std::string::npos);
  from_first(true);
  CHECK_FALSE(std::filesystem::exists(path / "set-aside-2"));
  std::filesystem::rename(folder.path() / "c.png", images / "c.png");
  from_first(false);
  CHECK(std::filesystem::exists(path / "set-aside-2/metrics.jsonl"));
}

TEST_CASE("another build of a plugin is refused unless it is allowed") {
  const TemporaryFolder folder;
  Checkpoint checkpoint = run(small_experiment(folder.path(), "run", single_head()));
  std::vector<UsedPlugin> now = checkpoint.plugins();
  REQUIRE(now.size() >= 4);
  CHECK_NOTHROW(checkpoint.check_plugins(now));
  now[0].build_id = "0123";
  CHECK_THROWS_WITH_AS(checkpoint.check_plugins(now), doctest::Contains(now[0].id.c_str()), PluginError);
  checkpoint.accept_plugins();
  CHECK_NOTHROW(checkpoint.check_plugins(now));
}

TEST_CASE("the line of a resume with another build of a plugin names the plugin and both builds") {
  const TemporaryFolder folder;
  const Checkpoint whole = run(small_experiment(folder.path(), "run", single_head(), {"train.total_images=16"}));
  const auto state_of = [](const Checkpoint& of) { return from_json(read_file(of.path() / "state.json")); };
  // As if the checkpoint were of a plugin that has been rebuilt since.
  Value state = state_of(whole);
  Value& plugin = state.find("plugins")->as_array().front();
  const std::string id = plugin.find("id")->as_string(), build = plugin.find("build_id")->as_string();
  plugin.set("build_id", "0123456789abcdef");
  const std::string content = to_json(state);
  write_file(whole.path() / "state.json", content);
  write_file(whole.path() / "state.json.sha256", sha256(content) + "  state.json\n");

  Checkpoint rebuilt = Checkpoint::open(whole.path());
  rebuilt.accept_plugins();
  const Checkpoint last = resume(small_experiment(folder.path(), "run", single_head()), rebuilt);
  const Value line = last_resume(folder.path() / "run/metrics.jsonl");
  REQUIRE(line.find("other_plugins") != nullptr);
  REQUIRE(line.find("other_plugins")->as_array().size() == 1);
  const std::string said = line.find("other_plugins")->as_array().front().as_string();
  CHECK(said.starts_with(text("plugin ", id, ": ")));
  CHECK(said.find(" build 0123456789ab -> ") != std::string::npos);
  CHECK(said.ends_with(" build " + build.substr(0, 12)));
  // The checkpoint that follows was made by the builds of now.
  CHECK(state_of(last).find("plugins")->as_array().front().find("build_id")->as_string() == build);
}
