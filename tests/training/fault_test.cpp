#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/files.h"
#include "framework/training/step_record.h"
#include "support/captured.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::string faulty(const std::string& fault, int after) {
  return cascade_head() + "[[metrics]]\ntype = \"faulty\"\nfault = \"" + fault +
         "\"\nafter = " + std::to_string(after) + "\n";
}

}  // namespace

TEST_CASE("when a loss becomes NaN, the message names term, t and step, and the last checkpoint is kept") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment =
      small_experiment(folder.path(), "run", faulty("nan", 6), {"checkpoint.every_images=8"});
  CHECK_THROWS_WITH_AS(run(experiment), doctest::Contains("step 7: loss term 'metric.faulty' is nan at t = "), Error);
  const Checkpoint kept = Checkpoint::open(folder.path() / "run");
  CHECK(kept.images() == 24);

  // The message says to what the user can go back.
  const auto ends_with = [](const LoadedExperiment& failing, const std::string& words) {
    CHECK_THROWS_WITH_AS(run(failing), doctest::Contains(words.c_str()), NotFinite);
  };
  ends_with(small_experiment(folder.path(), "again", faulty("nan", 6), {"checkpoint.every_images=8"}),
            (folder.path() / "again/checkpoints/000000000024").string());
  ends_with(small_experiment(folder.path(), "first", faulty("nan", 0)), "the run has no checkpoint yet");
  ends_with(small_experiment(folder.path(), "gradient", faulty("nan_gradient", 0)), "the run has no checkpoint yet");
}

TEST_CASE("a message about a value that is not finite says what was saved, and what can help") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& name, int after, const std::vector<std::string>& overrides) {
    try {
      run(small_experiment(folder.path(), name, faulty("nan", after), overrides));
    } catch (const NotFinite& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  const std::string first = message("first", 0, {});
  CHECK_MESSAGE(first.find("the run has no checkpoint yet. No step has been taken") != std::string::npos, first);
  CHECK(first.find("learning rate") == std::string::npos);
  const std::string later = message("later", 6, {"checkpoint.every_images=8"});
  CHECK_MESSAGE(later.find("the last good checkpoint is " +
                           (folder.path() / "later/checkpoints/000000000024").string()) != std::string::npos,
                later);
  CHECK(later.find(". Try a smaller learning rate") != std::string::npos);
  CHECK(later.find("fp32") == std::string::npos);
  CHECK(message("half", 6, {"run.precision=bf16"}).find("run.precision = \"fp32\"") != std::string::npos);
}

TEST_CASE("a training that diverges ends with the host's message, whatever its metrics compute of what is not finite") {
  const TemporaryFolder folder;
  for (const std::string type : {"feature_frechet", "feature_mmd"}) {
    CAPTURE(type);
    const std::string metric = "[[metrics]]\ntype = \"" + type + "\"\nextractor = {type = \"pixels\"}\n";
    const std::string message = message_of_run(small_experiment(
        folder.path(), type, cascade_head() + metric, {"optimizer.learning_rate=1e38", "optimizer.warmup_images=0"}));
    CHECK_MESSAGE(message.find(": loss term '") != std::string::npos, message);
    CHECK_MESSAGE(message.find("Try a smaller learning rate") != std::string::npos, message);
  }
}

TEST_CASE("when a gradient becomes NaN despite finite losses, the message names the module and the term") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(folder.path(), "run", faulty("nan_gradient", 1));
  CHECK_THROWS_WITH_AS(run(experiment),
                       doctest::Contains("but the gradient of module phi is not; it comes from 'metric.faulty' (t = "),
                       NotFinite);
}

TEST_CASE("a head that adds to the gradients itself, or changes its batch by data(), is named") {
  const TemporaryFolder folder;
  const std::string head = single_head();
  const std::string healthy = "type = \"single\"\nprediction_type = \"epsilon\"\n";
  REQUIRE(head.find(healthy) != std::string::npos);
  const std::vector<std::string> options = {"data.use_labels=true", "log.sample_count=4", "log.sample_every_images=8"};
  for (const auto& [fault, words] :
       {std::pair("backward", "losses() added to the gradients of the networks"),
        std::pair("data", "it changed tensors of the batch that it was given"),
        std::pair("changes_labels", "it changed tensors of the batch that it was given"),
        std::pair("changes_times", "it changed tensors of the batch that it was given"),
        std::pair("estimates_labels", "it changed the times or labels that it was given"),
        std::pair("estimates_times", "it changed the times or labels that it was given")}) {
    std::string faulty_head = head;
    faulty_head.replace(head.find(healthy), healthy.size(),
                        std::string("type = \"faulty_head\"\nfault = \"") + fault + "\"\n");
    const std::string message = message_of_run(small_experiment(folder.path(), fault, faulty_head, options));
    CHECK_MESSAGE(message.find("networks_broken/faulty_head: ") != std::string::npos, message);
    CHECK_MESSAGE(message.find(words) != std::string::npos, message);
  }
}

TEST_CASE("weights that are not finite are never saved, and the last good checkpoint is named") {
  const TemporaryFolder folder;
  std::vector<std::string> wild = {"optimizer.learning_rate=1e38", "optimizer.warmup_images=0", "train.total_images=12",
                                   "train.batch_size=12"};
  const LoadedExperiment at_once = small_experiment(folder.path(), "at_once", single_head(), wild);
  CHECK_THROWS_WITH_AS(run(at_once), doctest::Contains("the weights of module theta are not finite"), Error);
  CHECK_THROWS_AS(Checkpoint::open(folder.path() / "at_once"), NoCheckpoint);

  wild.back() = "train.batch_size=4";
  const Checkpoint good = run(small_experiment(folder.path(), "later", single_head(), {"train.total_images=8"}));
  CHECK_THROWS_WITH_AS(resume(small_experiment(folder.path(), "later", single_head(), wild), good),
                       doctest::Contains(good.path().c_str()), Error);
  CHECK(Checkpoint::open(folder.path() / "later").images() == 8);
}

TEST_CASE("a metric that returns the wrong shape, or a sparse tensor, is named") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(run(small_experiment(folder.path(), "run", faulty("shape", 0))),
                       doctest::Contains("metric_faulty/faulty: at step 1"), PluginError);
  CHECK_THROWS_WITH_AS(run(small_experiment(folder.path(), "sparse", faulty("sparse", 0))),
                       doctest::Contains("returned sparse Float [4] on cpu; it must return one distance per image"),
                       PluginError);
}

TEST_CASE("what a metric says of itself must be possible") {
  const TemporaryFolder folder;
  for (const auto& [fault, expected] : {std::pair("range", "its info() has the input_range [nan, 1.0]"),
                                        std::pair("bounds", "its info() says that distances are in [nan, inf]"),
                                        std::pair("size", "its info() has minimum_size = -5")}) {
    const std::string said = message_of_run(small_experiment(folder.path(), fault, faulty(fault, 0)));
    CHECK_MESSAGE(said.find(std::string("metric_faulty/faulty: ") + expected) != std::string::npos, said);
  }
}

TEST_CASE("a metric that throws is named") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(run(small_experiment(folder.path(), "run", faulty("throw", 2))),
                       doctest::Contains("metric_faulty/faulty"), PluginError);
}

TEST_CASE(
    "a backbone in a head, or a metric in a metric, is named for what it throws or changes, not what contains it") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& name, const std::string& toml) {
    return message_of_run(small_experiment(folder.path(), name, toml));
  };
  const std::string head = "[head]\ntype = \"single\"\n[head.theta]\ntype = \"networks_broken/faulty_network\"\n";
  std::string said = message("throws", head + "fault = \"throws\"\n");
  CHECK_MESSAGE(said.find("head.theta: networks_broken/faulty_network: failed at step 1") != std::string::npos, said);
  CHECK_MESSAGE(said.find("the backbone gave up") != std::string::npos, said);
  said = message("changes_time", head + "fault = \"changes_time\"\n");
  CHECK_MESSAGE(said.find("it changed the times, labels or augmentations that it was given") != std::string::npos,
                said);
  said = message("draws", head + "change = \"generator\"\n");
  CHECK_MESSAGE(said.find("'networks_broken/faulty_network' changed the global random generator") != std::string::npos,
                said);
  said = message("backward", head + "fault = \"backward_state\"\n");
  CHECK_MESSAGE(
      said.find("ran in a backward pass changed the use of deterministic algorithms, now on") != std::string::npos,
      said);
  const std::string inner = "[[metrics]]\ntype = \"resized\"\nsize = 8\n[metrics.metric]\ntype = \"faulty\"\n";
  said = message("inner", cascade_head() + inner + "fault = \"throw\"\n");
  CHECK_MESSAGE(said.find("metrics.0.metric: metric_faulty/faulty: failed at step 1") != std::string::npos, said);
  said = message("shape", cascade_head() + inner + "fault = \"shape\"\n");
  CHECK_MESSAGE(said.find("metrics.0.metric: metric_faulty/faulty: at step 1") != std::string::npos, said);
  CHECK_MESSAGE(
      said.find("distance() returned Float [] on cpu; expected floating point [4] on cpu") != std::string::npos, said);
  const std::string features = "[[metrics]]\ntype = \"feature_distance\"\nextractor = { type = \"cells\", fault = ";
  said = message("one_row", cascade_head() + features + "\"one_row\" }\n");
  CHECK_MESSAGE(said.find("metrics.0.extractor: judging/cells: ") != std::string::npos, said);
  CHECK_MESSAGE(said.find("extract() of \"quarters\" returned Float [1, 12] on cpu; expected floating point [4, 12]") !=
                    std::string::npos,
                said);
  said = message("none_declared", cascade_head() + features + "\"none_declared\" }\n");
  CHECK_MESSAGE(said.find("metrics.0.extractor: judging/cells: it declares no feature") != std::string::npos, said);
  said = message("undefined", cascade_head() + features + "\"undefined\" }\n");
  CHECK_MESSAGE(said.find("judging/cells: buffers() returned an undefined tensor") != std::string::npos, said);
  std::string printed = stderr_of([&] {
    message("detached", cascade_head() +
                            "[[metrics]]\ntype = \"sum\"\nterms = [{ type = \"l1\" }, { type = "
                            "\"faulty\", fault = \"detach\" }]\n");
  });
  CHECK_MESSAGE(
      printed.find("metric_faulty/faulty: its distance gives the prediction no gradient") != std::string::npos,
      printed);
  said = message("remembers", cascade_head() + features + "\"remembers\" }\n");
  CHECK_MESSAGE(said.find("metrics.0.extractor: judging/cells: ") != std::string::npos, said);
  CHECK_MESSAGE(said.find("it changed its buffers") != std::string::npos, said);
}

TEST_CASE("the taps that a backbone returns are those that were asked for, as it declares them") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& fault) {
    const std::string toml =
        "[head]\ntype = \"single\"\n[head.alignment]\ntap = \"map\"\nextractor = { type = "
        "\"pixels\" }\n[head.theta]\ntype = \"networks_broken/faulty_network\"\nfault = \"" +
        fault + "\"\n";
    const std::string said = message_of_run(small_experiment(folder.path(), fault, toml));
    CHECK_MESSAGE(said.find("head.theta: networks_broken/faulty_network: at step 1") != std::string::npos, said);
    return said;
  };
  const auto says = [](const std::string& said, const std::string& words) {
    CHECK_MESSAGE(said.find(words) != std::string::npos, said);
  };
  says(message("tap_name"), "forward_with_taps() returned \"other\" where \"map\" was asked for");
  says(message("tap_twice"), "forward_with_taps() returned 2 taps; 1 were asked for");
  says(message("tap_shape"), "forward_with_taps() at the tap \"map\" returned Float [1, 3, 16, 16] on cpu; expected");
  says(message("tap_type"), "forward_with_taps() at the tap \"map\" returned Long [4, 3, 16, 16] on cpu; expected");
}

TEST_CASE("a backbone's taps and a head's predictions for metrics must have their form") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& name, const std::string& toml) {
    return message_of_run(small_experiment(folder.path(), name, toml));
  };
  const std::string network = "[head.theta]\ntype = \"networks_broken/faulty_network\"\nfault = ";
  const std::string aligned = "[head]\ntype = \"single\"\n[head.alignment]\nextractor = { type = \"pixels\" }\n";
  std::string said = message("flat", aligned + network + "\"tap_flat\"\n");
  CHECK_MESSAGE(said.find("networks_broken/faulty_network: taps() gives \"map\" the shape [3]") != std::string::npos,
                said);
  for (const auto& [fault, expected] :
       {std::pair("detached_handles", "the parameter \"weight\" of module 'theta' requires no gradient"),
        std::pair("tied", "the tensors \"theta.weight\" and \"theta.tied\" share their memory")}) {
    said = message(fault, "[head]\ntype = \"single\"\n" + network + "\"" + fault + "\"\n");
    CHECK_MESSAGE(said.find(expected) != std::string::npos, said);
  }
  said = message_of_run(small_experiment(folder.path(), "sampled",
                                         "[head]\ntype = \"single\"\n" + network + "\"changes_weights\"\n",
                                         {"log.sample_count=4", "log.sample_every_images=8"}));
  CHECK_MESSAGE(said.find("it changed its parameters or buffers outside of training") != std::string::npos, said);
  for (const auto& [fault, words] :
       {std::pair("lazy_buffer", "module theta: it has 1 buffers now and had 0 when it was made"),
        std::pair("other_buffer", "module theta: its buffer \"cache\" has the shape [4] now; when it was made"),
        std::pair("keeps_a_view", "something in module theta uses the memory of \"weight\" apart from the parameter"),
        std::pair("folds", "train() changed its parameters or buffers")}) {
    said = message(fault, "[head]\ntype = \"single\"\n" + network + "\"" + fault + "\"\n");
    CHECK_MESSAGE(said.find(words) != std::string::npos, said);
    CHECK_THROWS_AS(Checkpoint::open(folder.path() / fault), NoCheckpoint);
  }
  CHECK_NOTHROW(
      run(small_experiment(folder.path(), "views", "[head]\ntype = \"single\"\n" + network + "\"made_of_views\"\n")));
  said = message_of_run(small_experiment(
      folder.path(), "head_sampled",
      "[head]\ntype = \"networks_broken/faulty_head\"\nfault = \"sampling_weights\"\n" + network + "\"none\"\n",
      {"log.sample_count=4", "log.sample_every_images=8"}));
  CHECK_MESSAGE(said.find("networks_broken/faulty_head: at sampling step 1 of 2, t = 25: its networks' parameters or "
                          "buffers were changed by "
                          "sampling") != std::string::npos,
                said);
  for (const auto& [fault, change] :
       {std::pair("own_gradient", "has another gradient"), std::pair("no_gradient", "no longer requires a gradient"),
        std::pair("other_memory", "has other memory")}) {
    said = message(fault, "[head]\ntype = \"single\"\n" + network + "\"" + fault + "\"\n");
    CHECK_MESSAGE(said.find(text("would not train: theta.weight ", change)) != std::string::npos, said);
  }
  said = message("empty", aligned + network + "\"tap_empty\"\n");
  CHECK_MESSAGE(said.find("networks_broken/faulty_network: taps() names a tap \"\"") != std::string::npos, said);
  said = message("channel", "[head]\ntype = \"networks_broken/faulty_head\"\nfault = \"one_channel\"\n" + network +
                                "\"none\"\n[[metrics]]\ntype = \"l2\"\n");
  CHECK_MESSAGE(said.find("networks_broken/faulty_head: ") != std::string::npos, said);
  CHECK_MESSAGE(said.find("metrics.evaluate() got a prediction [4, 1, 16, 16] and the target [4, 3, 16, 16]") !=
                    std::string::npos,
                said);
}

TEST_CASE("an error in the backward pass names the components whose code runs there") {
  const TemporaryFolder folder;
  std::string message;
  try {
    run(small_experiment(folder.path(), "run", faulty("throw_backward", 2)));
  } catch (const PluginError& error) {
    message = error.what();
  }
  CHECK_MESSAGE(message.starts_with("the backward pass, which runs code of "), message);
  for (const char* part :
       {"test.toml:27:1: head: head_diffusion/cascade and of ", ": head.theta: backbone_unet/unet and of ",
        "test.toml:45:1: metrics.0: metric_faulty/faulty, failed at step 3, ",
        ": the metric gave up on its gradient"}) {
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
  }
  const std::string inner =
      "[[metrics]]\ntype = \"resized\"\nsize = 8\n[metrics.metric]\ntype = \"faulty\"\nfault = \"throw_backward\"\n";
  for (const auto& [after, what] : {std::pair("0", "the gradient of metric resized, which runs code of "),
                                    std::pair("2", "the backward pass, which runs code of ")}) {
    message = message_of_run(
        small_experiment(folder.path(), text("inner", after), cascade_head() + inner + "after = " + after + "\n"));
    CHECK_MESSAGE(message.starts_with(what), message);
    CHECK_MESSAGE(message.find("metrics.0.metric: metric_faulty/faulty, failed at step ") != std::string::npos,
                  message);
  }
}

TEST_CASE("a metric that needs larger images is refused before training") {
  const TemporaryFolder folder;
  const std::string toml = single_head() + "[[metrics]]\ntype = \"ssim\"\nresize = 8\n";
  CHECK_THROWS_WITH_AS(run(small_experiment(folder.path(), "run", toml)), doctest::Contains("needs images of at least"),
                       ConfigError);
}

TEST_CASE("a run folder is never overwritten") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(folder.path(), "run", single_head(), {"train.total_images=4"});
  run(experiment);
  CHECK_THROWS_WITH_AS(run(experiment), doctest::Contains("--resume"), ConfigError);
}

TEST_CASE("every line of the record has each term by quarters of t, norms and the gate") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "run", cascade_head() + "[[metrics]]\ntype = \"l1\"\n"));
  std::istringstream lines(read_file(folder.path() / "run" / "metrics.jsonl"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const Value record = from_json(line);
    for (const char* term : {"eps", "x0", "mu", "metric.l1"}) {
      const Value* loss = record.find("loss")->find(term);
      REQUIRE_MESSAGE(loss != nullptr, term);
      CHECK(loss->find("mean")->as_number() >= 0);
      CHECK(loss->find("by_t")->as_array().size() == 4);
    }
    CHECK(record.find("seconds")->as_number() > 0);
    CHECK(record.find("grad_norm")->find("theta")->as_number() > 0);
    CHECK(record.find("grad_norm")->find("phi")->as_number() > 0);
    CHECK(record.find("statistic")->find("gate")->find("mean")->as_number() > 0);
  }
  CHECK(count == 4);
}
