#include "framework/config/cross_checks.h"

#include <doctest/doctest.h>

#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/void_options.h"
#include "framework/loading/discovery.h"
#include "support.h"

using namespace casdm;
using casdm::testing::fake_catalog;
using casdm::testing::kSmallExperiment;
using casdm::testing::message_of;
using casdm::testing::TemporaryFolder;

namespace {

Value checked(const std::string& more) {
  return checked_experiment(parse_document(kSmallExperiment + more, "x", std::filesystem::current_path()),
                            schema_of<Experiment>(), fake_catalog());
}

std::string problem(const std::string& more) {
  return message_of<ConfigError>([&] { checked(more); });
}

}  // namespace

TEST_CASE("keys that contradict each other are all reported, each with its location") {
  CHECK(problem("") == "nothing thrown");
  CHECK(problem("[train]\nbatch_size = 10\naccumulate = 3") ==
        "x:13:14: train.accumulate: expected a divisor of train.batch_size = 10, got 3");
  const std::string two = problem("[guidance]\ninterval = [0.5, 0.2]\n[[metrics]]\ntype = 'l1'\nt_range = [0.5, 0.5]");
  CHECK(two ==
        "2 problems:\n  1. x:12:12: guidance.interval: expected a lower and a higher number within [0, 1], got [0.5, "
        "0.2], which does not rise within [0, 1]\n"
        "  2. x:15:11: metrics.0.t_range: expected a lower and a higher number, got [0.5, 0.5], which does not rise");
}

TEST_CASE("metrics must have different names and increasing ranges") {
  CHECK(problem("[[metrics]]\ntype = 'l1'\n[[metrics]]\ntype = 'lpips'\nname = 'l1'") ==
        "x:15:8: metrics.1.name: metrics.0 is named \"l1\", too; set name = \"...\" in one of them");
  CHECK(problem("[[metrics]]\ntype = 'l1'\n[[metrics]]\ntype = 'metric_loss_fake/l1'").find("metrics.1.name") !=
        std::string::npos);
  CHECK(problem("[[metrics]]\ntype = 'l1'\ninput_range = [1, 0]") ==
        "x:13:15: metrics.0.input_range: expected a lower and a higher number, got [1.0, 0.0], which does not rise");
}

TEST_CASE("a range of noise must match its unit and increase, and a crop must fit into the images") {
  const auto metric = [](const std::string& keys) { return problem("[[metrics]]\ntype = 'l1'\n" + keys); };
  CHECK(metric("noise_range = [0.0, 0.7]\nnoise_unit = 'flow_time'") == "nothing thrown");
  CHECK(metric("noise_range = [-1.7, inf]\nnoise_unit = 'log_snr'") == "nothing thrown");
  CHECK(metric("noise_range = [0.0, 0.7]") ==
        "x:13:15: metrics.0.noise_range: its unit is missing; add noise_unit = \"flow_time\", \"log_snr\" or "
        "\"t_fraction\"");
  CHECK(metric("noise_unit = 'log_snr'") ==
        "x:13:14: metrics.0.noise_unit: it is the unit of noise_range, which is missing; add noise_range = [low, "
        "high]");
  CHECK(metric("noise_range = [0.7, 0.2]\nnoise_unit = 'log_snr'") ==
        "x:13:15: metrics.0.noise_range: expected a lower and a higher number, got [0.7, 0.2], which does not rise");
  CHECK(metric("noise_range = [-1.7, 0.7]\nnoise_unit = 'flow_time'") ==
        "x:13:15: metrics.0.noise_range: in the unit \"flow_time\" it lies within [0, 1], got [-1.7, 0.7]");
  CHECK(metric("crop = 64") ==
        "x:13:8: metrics.0.crop: expected at most data.image_size = 32, got 64: a crop is cut before images are "
        "resized");
  for (const char* key : {"share = 0.0", "share = 1.5", "every = 0", "normalise = 'other'", "balance = 'l1'",
                          "mean = 'all'", "until_images = -1"}) {
    CHECK_MESSAGE(metric(key).starts_with("x:13:"), key);
  }
}

TEST_CASE("a metric's name must be a possible key of the log, and a training short enough for checkpoint names") {
  CHECK(problem("[[metrics]]\ntype = 'l1'\nname = \"a\\nb\"") ==
        "x:13:8: metrics.0.name: it names the metric in logs: expected 1 to 100 characters without blanks, got "
        "\"a\\nb\"");
  CHECK(problem("[[metrics]]\ntype = 'l1'\nname = \"" + std::string(101, 'a') + "\"").find("metrics.0.name") !=
        std::string::npos);
  CHECK(problem("[train]\ntotal_images = 9223372036854775807").find("train.total_images") != std::string::npos);
  CHECK(problem("[train]\ntotal_images = '999G'") == "nothing thrown");
}

TEST_CASE("a module's clipping and learning-rate schedule must agree with the common settings") {
  CHECK(problem("[optimizer]\ngrouping = 'joint'\n[optimizer.phi]\nclip_norm = 2") ==
        "x:14:13: optimizer.phi.clip_norm: with optimizer.grouping = \"joint\" all modules have one norm; set "
        "optimizer.clip_norm");
  CHECK(problem("[optimizer]\ngrouping = 'joint'\n[optimizer.phi]\nlearning_rate = 2") == "nothing thrown");
  const std::string from = "\"inverse_sqrt\" falls from reference_images on";
  CHECK(problem("[optimizer]\nschedule = 'inverse_sqrt'").find("optimizer.schedule: " + from) != std::string::npos);
  CHECK(problem("[optimizer.phi]\nschedule = 'inverse_sqrt'").find("optimizer.phi.schedule: " + from) !=
        std::string::npos);
  CHECK(problem("[optimizer]\nwarmup_images = 8\n[optimizer.phi]\nschedule = 'inverse_sqrt'") == "nothing thrown");
  CHECK(problem("[optimizer]\nschedule = 'inverse_sqrt'\nreference_images = '1k'") == "nothing thrown");
  CHECK(problem("[train]\ntotal_images = 100\n[optimizer]\ndecay_images = 200") ==
        "x:14:16: optimizer.decay_images: expected at most train.total_images = 100, got 200 (an integer)");
}

TEST_CASE("averages have exactly one form, and names that the command line can distinguish") {
  CHECK(problem("[[ema.also]]\nname = 'a'\ndecay = 0.9\nsigma_rel = 0.1") ==
        "x:11:1: ema.also.0: expected exactly one of decay, half_life and sigma_rel, got 2");
  CHECK(problem("[[ema.also]]\nname = 'raw'\ndecay = 0.9").find("neither \"ema\" nor \"raw\"") != std::string::npos);
  for (const std::string name : {"a.b", "a/b", ""}) {
    CHECK(problem("[[ema.also]]\nname = '" + name + "'\ndecay = 0.9").find("ema.also.0.name: ") != std::string::npos);
  }
  CHECK(problem("[[ema.also]]\nname = 'a'").find("got 0") != std::string::npos);
  CHECK(problem("[[ema.also]]\nname = 'a'\nsigma_rel = 0.1\n[[ema.also]]\nname = 'b'\nsigma_rel = 0.1") ==
        "x:16:13: ema.also.1.sigma_rel: another average has 0.1, too");
  CHECK(problem("[[ema.also]]\nname = 'a'\ndecay = 0.9\n[[ema.also]]\nname = 'a'\ndecay = 0.5") ==
        "x:15:8: ema.also.1.name: another average is named \"a\", too");
  CHECK(problem("[[ema.also]]\nname = 'a'\nsigma_rel = 0.3").find("expected at most 0.2886") != std::string::npos);
  CHECK(problem("[ema]\nsnapshot_every_images = 8").starts_with("x:12:25: ema.snapshot_every_images: snapshots are"));
}

TEST_CASE("an experiment can add only a limited number of places to the search for plugins") {
  std::string paths = "[plugins]\npaths = [";
  for (int i = 0; i < 70; ++i) paths += "'p" + std::to_string(i) + "', ";
  CHECK(problem(paths + "]") == "x:12:9: plugins.paths: expected at most 64 paths, got 70");
  Value document = parse_document(kSmallExperiment + paths + "]", "x", std::filesystem::current_path());
  CHECK(plugin_paths(document).size() == 64);
}

TEST_CASE("guidance needs labels and label dropout") {
  CHECK(
      problem("[guidance]\nscale = 2") ==
      "x:12:9: guidance.scale: the networks are trained without labels, so there is nothing to guide away from; train "
      "with data.use_labels = true and data.label_dropout = 0.1, or leave guidance.scale at 1");
}

TEST_CASE("a number is compared with the key that its schema names") {
  // In the fake catalog: ddim's num_inference_steps, at most noise.num_train_timesteps; its respacing likewise.
  const auto with = [](const std::string& steps, const std::string& total) {
    Value document =
        parse_document(kSmallExperiment + ("num_inference_steps = " + steps), "x", std::filesystem::current_path());
    if (!total.empty()) document.find("noise")->set("num_train_timesteps", from_json(total));
    return message_of<ConfigError>([&] { checked_experiment(document, schema_of<Experiment>(), fake_catalog()); });
  };
  CHECK(with("1000", "1000") == "nothing thrown");
  CHECK(with("1001", "1000") ==
        "x:11:23: sampler.num_inference_steps: expected at most noise.num_train_timesteps = 1000, got 1001 (an "
        "integer)");
  CHECK(problem("respacing = '10,15,20'\n[train]\nbatch_size = 1") == "nothing thrown");
  CHECK(problem("respacing = '500,501'") ==
        "x:11:13: sampler.respacing: expected numbers that sum up to at most noise.num_train_timesteps = 1000, got "
        "\"500,501\" (a string)");
  CHECK(problem("respacing = '5, 6'").find("expected a string of the form [0-9]+(,[0-9]+)*, got \"5, 6\"") !=
        std::string::npos);
}

TEST_CASE("an option made void by another is refused before training, wherever its table is") {
  const auto before = [](const std::string& more) {
    return message_of<ConfigError>([&] { check_before_training(checked(more), fake_catalog()); });
  };
  CHECK(before("num_inference_steps = 10") == "nothing thrown");
  CHECK(before("num_inference_steps = 50\nrespacing = '10,15'") == "nothing thrown");  // as in a run's config
  CHECK(before("num_inference_steps = 10\nrespacing = '10,15'") ==
        "x:11:23: sampler.num_inference_steps: it has no effect with respacing = \"10,15\"; leave it out, or change "
        "respacing");
  const std::string net =
      "layers: it has no effect with net = \"alexnet\", only with \"vgg16\"; leave it out, or change net";
  CHECK(before("[[metrics]]\ntype = 'lpips'\nnet = 'alexnet'\nlayers = 3") == "x:14:10: metrics.0." + net);
  CHECK(before("[[metrics]]\ntype = 'lpips'\nlayers = 3") == "nothing thrown");
  CHECK(before("[[metrics]]\ntype = 'sum'\nparts = [{type = 'lpips', net = 'alexnet', layers = 3}]")
            .find("metrics.0.parts.0." + net) != std::string::npos);
  CHECK(before("[[metrics]]\ntype = 'lpips'\noffset = 1").find("with scale = 0.0; leave") != std::string::npos);
  const std::string scaled = "[[metrics]]\ntype = 'lpips'\noffset = 1\nscale = 2";
  CHECK(before(scaled) == "nothing thrown");
  // The other option may be of another table, of which the schema gives the key path.
  Value few = parse_document(kSmallExperiment + scaled, "x", std::filesystem::current_path());
  few.find("noise")->set("num_train_timesteps", 10);
  const Value resolved = checked_experiment(few, schema_of<Experiment>(), fake_catalog());
  CHECK(message_of([&] { check_before_training(resolved, fake_catalog()); }) ==
        "x:13:10: metrics.0.offset: it has no effect with noise.num_train_timesteps = 10; leave it out, or change "
        "noise.num_train_timesteps");
  CHECK(before("[ema]\nrampup_ratio = 0.1").find("ema.rampup_ratio: it has no effect") != std::string::npos);
  CHECK(before("[ema]\nrampup_ratio = 0.1\nhalf_life = 500") == "nothing thrown");
  const std::string also = "[[ema.also]]\nname = 'slow'\nrampup_ratio = 0.1\n";
  CHECK(before(also + "decay = 0.9").find("ema.also.0.rampup_ratio: it has no effect") != std::string::npos);
  CHECK(before(also + "half_life = 500") == "nothing thrown");
  CHECK(before("[ema]\ndecay = 0.9\nhalf_life = 500") ==
        "x:12:9: ema.decay: it has no effect with half_life = 500; leave it out, or change half_life");
  CHECK(before("[ema]\ndecay = 0.9") == "nothing thrown");
  CHECK(before("[log]\nsample_every_images = 8\nsample_count = 0")
            .find("log.sample_every_images: it has no effect with sample_count = 0") != std::string::npos);
  CHECK(before("[log]\nsample_every_images = 8") == "nothing thrown");
  CHECK(before("[log]\nsample_count = 0") == "nothing thrown");
  // A run that has such an option can still be read.
  CHECK_NOTHROW(checked("num_inference_steps = 10\nrespacing = '10,15'"));
}

TEST_CASE("an option of [optimizer] is void only if it has no effect in any module's table that inherits it") {
  const auto before = [](const std::string& more) {
    return message_of<ConfigError>([&] { check_before_training(checked("[optimizer]\n" + more), fake_catalog()); });
  };
  const std::string lookahead = "nesterov: it has no effect with momentum = 0.0; leave it out, or change momentum";
  const std::string still = "type = 'sgd'\nmomentum = 0.0\nnesterov = true\n";
  CHECK(before(still).find("optimizer." + lookahead) != std::string::npos);
  CHECK(before(still + "theta = {momentum = 0.9}") == "nothing thrown");
  CHECK(before(still + "theta = {clip_norm = 2.0}").find("optimizer." + lookahead) != std::string::npos);
  CHECK(before(still + "theta = {type = 'adamw'}").find("optimizer." + lookahead) != std::string::npos);
  CHECK(before(still + "theta = {momentum = 0.9, nesterov = false}").find("optimizer." + lookahead) !=
        std::string::npos);
  // What a module's own table gives counts with what it inherits.
  CHECK(before("type = 'sgd'\nmomentum = 0.0\ntheta = {nesterov = true}").find("optimizer.theta." + lookahead) !=
        std::string::npos);
  CHECK(before("type = 'sgd'\nmomentum = 0.5\ntheta = {nesterov = true}") == "nothing thrown");
  CHECK(before("type = 'adamw'\ntheta = {type = 'sgd', momentum = 0.0, nesterov = true}")
            .find("optimizer.theta." + lookahead) != std::string::npos);
  const std::string falling = "final_fraction: it has no effect with schedule = \"constant\"";
  CHECK(before("final_fraction = 0.1").find("optimizer." + falling) != std::string::npos);
  CHECK(before("final_fraction = 0.1\ntheta = {schedule = 'cosine'}") == "nothing thrown");
  CHECK(before("schedule = 'cosine'\nfinal_fraction = 0.1\ntheta = {schedule = 'constant'}") == "nothing thrown");
  CHECK(before("theta = {final_fraction = 0.1}").find("optimizer.theta." + falling) != std::string::npos);
}

TEST_CASE("the warm-up of averages is void if none of them has a decay") {
  const auto before = [](const std::string& more) {
    return message_of<ConfigError>([&] { check_before_training(checked("[ema]\n" + more), fake_catalog()); });
  };
  const std::string idle = "ema.warmup: it is of averages with a decay, and there is none";
  CHECK(before("warmup = false\nhalf_life = 500") == "x:12:10: " + idle + "; leave it out");
  CHECK(before("warmup = false\nhalf_life = 500\nalso = [{name = 'a', sigma_rel = 0.1}]").find(idle) !=
        std::string::npos);
  CHECK(before("warmup = false\nhalf_life = 500\nalso = [{name = 'a', decay = 0.9}]") == "nothing thrown");
  CHECK(before("warmup = false") == "nothing thrown");
  CHECK(before("half_life = 500") == "nothing thrown");
}

TEST_CASE("the mean over the images that a metric acts on is void if it acts on all") {
  const auto before = [](const std::string& more) {
    return message_of<ConfigError>(
        [&] { check_before_training(checked("[[metrics]]\ntype = 'l1'\n" + more), fake_catalog()); });
  };
  CHECK(before("mean = 'active'")
            .find("metrics.0.mean: the metric acts on all images; give it a t_range, a noise_range "
                  "or a share, or leave this out") != std::string::npos);
  CHECK(before("mean = 'active'\nshare = 0.5") == "nothing thrown");
  CHECK(before("mean = 'active'\nt_range = [0.0, 0.5]") == "nothing thrown");
  CHECK(before("mean = 'active'\nnoise_range = [0.0, 0.5]\nnoise_unit = 'flow_time'") == "nothing thrown");
  CHECK(before("mean = 'batch'") == "nothing thrown");
}

TEST_CASE("the score of the best checkpoint is void without evaluations") {
  const auto before = [](const std::string& more) {
    return message_of<ConfigError>([&] { check_before_training(checked("[evaluate]\n" + more), fake_catalog()); });
  };
  CHECK(before("keep_best = 'a.b'").find("evaluate.keep_best: ") != std::string::npos);
  CHECK(before("keep_best = 'a.b'\nevery_images = 8") == "nothing thrown");
  CHECK(before("every_images = 0") == "nothing thrown");
}

TEST_CASE("an option that an override has made void is a warning, unless it was set on the command line, too") {
  const TemporaryFolder folder;
  folder.write("x.toml", kSmallExperiment + std::string("[evaluate]\nkeep_best = 'a.b'\nevery_images = 8"));
  const auto before = [](const std::vector<std::string>& overrides) {
    const Value experiment =
        checked_experiment(load_document("x.toml", overrides), schema_of<Experiment>(), fake_catalog());
    return message_of<ConfigError>([&] { check_before_training(experiment, fake_catalog()); });
  };
  CHECK(before({"evaluate.every_images=0"}) == "nothing thrown");
  CHECK(before({"evaluate.every_images=0", "evaluate.keep_best=c.d"}).find("evaluate.keep_best: it has no effect") !=
        std::string::npos);
}

TEST_CASE("a table of [optimizer] is void if [[init]] freezes its module") {
  const TemporaryFolder folder;
  const std::string file = folder.write("x.safetensors", "").string();
  const auto before = [&](const std::string& own, const std::string& freeze) {
    return message_of<ConfigError>([&] {
      check_before_training(
          checked("[optimizer]\n" + own + "\n[[init]]\nmodule = 'theta'\nfrom = '" + file + "'\nfreeze = " + freeze),
          fake_catalog());
    });
  };
  CHECK(before("theta = {clip_norm = 2.0}", "true") ==
        "x:12:9: optimizer.theta: init.0 freezes the module, so nothing in this table has an effect; leave the table "
        "out, or the module trainable");
  CHECK(before("theta = {clip_norm = 2.0}", "false") == "nothing thrown");
  CHECK(before("theta = {}", "true") == "nothing thrown");
  CHECK(before("phi = {clip_norm = 2.0}", "true") == "nothing thrown");
}

TEST_CASE(
    "a missing component among a component's options can be kept as it is, but not one of the experiment itself") {
  const auto kept = [](const std::string& more) {
    const Value document = parse_document(kSmallExperiment + more, "x", std::filesystem::current_path());
    return checked_experiment(document, schema_of<Experiment>(), fake_catalog(), Missing::kept);
  };
  const std::string inside = "[[metrics]]\ntype = 'sum'\nparts = [{type = 'gone/net', depth = 3}]\n";
  CHECK(problem(inside).find("metrics.0.parts.0.type: no metric_loss 'gone/net'") != std::string::npos);
  const Value experiment = kept(inside);
  CHECK(to_json(*experiment.find("metrics")->as_array()[0].find("parts")) == R"([{"type":"gone/net","depth":3}])");
  CHECK(void_options(experiment, fake_catalog()).empty());
  CHECK(message_of<ConfigError>([&] {
          kept("[[metrics]]\ntype = 'gone/net'\n");
        }).find("metrics.0.type: no metric_loss") != std::string::npos);
}

TEST_CASE("training needs existing files at its paths, and a device for its precision") {
  const TemporaryFolder folder;
  folder.write("data.zip", "");
  const auto before = [](const std::string& toml) {
    return message_of<ConfigError>([&] {
      const Value document = parse_document(toml, "x", std::filesystem::current_path());
      check_before_training(checked_experiment(document, schema_of<Experiment>(), fake_catalog()), fake_catalog());
    });
  };
  const std::string rest = std::string(kSmallExperiment).substr(std::string("[data]\ntype = \"shapes\"\n").size());
  CHECK(before("[data]\ntype = 'zip'\npath = 'data.zip'\n" + rest) == "nothing thrown");
  CHECK(before("[data]\ntype = 'zip'\npath = 'date.zip'\n" + rest) ==
        "x:3:8: data.path: \"" + (folder.path() / "date.zip").string() + "\" does not exist; did you mean \"" +
            (folder.path() / "data.zip").string() + "\"?");
  std::filesystem::create_symlink("/nowhere/data.zip", folder.path() / "link.zip");
  CHECK(before("[data]\ntype = 'zip'\npath = 'link.zip'\n" + rest) ==
        "x:3:8: data.path: \"" + (folder.path() / "link.zip").string() +
            "\" is a link to \"/nowhere/data.zip\", which does not exist");
  CHECK(before(kSmallExperiment + std::string("[[init]]\nmodule = 'theta'\nfrom = 'runs/none'"))
            .starts_with("x:13:8: init.0.from: "));
  CHECK(before(kSmallExperiment + std::string("[run]\ndevice = 'cpu'\nprecision = 'fp16'")) ==
        "x:13:13: run.precision: fp16 is for CUDA, and run.device is \"cpu\"; use \"bf16\" or \"fp32\"");
  CHECK(before(kSmallExperiment + std::string("[run]\nprecision = 'fp16'")) == "nothing thrown");
}
