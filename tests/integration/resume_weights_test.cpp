#include <doctest/doctest.h>

#include <map>

#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "integration/trained.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

TEST_CASE("a key that gives the head other parameters is named if a checkpoint no longer fits") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string network =
      "theta={type=\"unet\",channels=8,channel_mult=[1,2],num_res_blocks=1,attention_resolutions=[8],groups=4}";
  struct Case {
    std::string head, more, set, key;
  };
  for (const Case& c :
       {Case{"type=\"edm\",learned_weight=false,",
             "--set 'noise={type=\"edm\"}' --set 'sampler={type=\"heun\",num_inference_steps=2}' ",
             "head.learned_weight=true", "head.learned_weight: false -> true"},
        Case{"type=\"edm\",learned_weight=true,",
             "--set 'noise={type=\"edm\"}' --set 'sampler={type=\"heun\",num_inference_steps=2}' ",
             "head.learned_weight=false", "head.learned_weight: true -> false"},
        Case{"type=\"single\",", "", "head.variance=learned_range", "head.variance: \"fixed\" -> \"learned_range\""},
        Case{"type=\"single\",", "", "head.theta.channels=16", "head.theta.channels: 8 -> 16"}}) {
    CAPTURE(c.set);
    fs::remove_all(folder.path() / "runs");
    const Outcome begun = shell("casdm train small.toml --set train.total_images=8 --set log.sample_count=0 " + c.more +
                                    "--set 'head={" + c.head + network + "}'",
                                folder.path());
    REQUIRE_MESSAGE(begun.status == 0, begun.err);
    for (const std::string& command : {std::string("casdm train --resume runs/small --set train.total_images=16"),
                                       std::string("casdm sample runs/small --num 1 --out s")}) {
      // Sampling does not need a module that only weights losses.
      if (command.starts_with("casdm sample") && c.set == "head.learned_weight=false") continue;
      const Outcome outcome = shell(command + " --set " + c.set, folder.path());
      CHECK_MESSAGE(outcome.status == 2, command);
      CHECK_MESSAGE(contains(outcome.err, c.key), outcome.err);
    }
  }
}

TEST_CASE(
    "a resume with an experiment that the checkpoint does not fit is refused as a wrong option and changes nothing") {
  const Trained trained;
  const fs::path folder = trained.folder.path() / "runs/small";
  const auto content = [&] {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const bool is_lock = entry.path().filename() == ".lock";  // it says which process had it last
      if (entry.is_regular_file() && !is_lock) files[entry.path().string()] = read_file(entry.path());
    }
    return files;
  };
  const auto before = content();
  const std::string network = "{type=\"unet\",channels=8,channel_mult=[1,2],num_res_blocks=1,groups=4}";
  const std::string evaluated = "num=8,reference_num=40,judges=[{type=\"pixels\"}]";
  struct Case {
    std::string set, key, advice;
  };
  const std::string advice =
      "Resume with the experiment as it was, or start a new run from the checkpoint's weights with [[init]]";
  for (const auto& [set, key, what_to_do] :
       {Case{"head.sees_x_t=true", "head.sees_x_t: false -> true", advice},
        Case{"'head={type=\"dual\",theta=" + network + "}'", "head.type: ", advice},
        Case{"data.use_labels=true", "data.use_labels: false -> true", advice},
        Case{"data.use_labels=true --set data.label_dropout=0.1", "data.label_dropout: 0.0 -> 0.1", advice},
        Case{"augmentation.type=edm", "augmentation: not set -> edm", advice},
        Case{"timesteps.type=loss_second_moment", "timesteps: not set -> loss_second_moment",
             "resume with the `timestep"},
        Case{"'ema.also=[{name=\"slow\",decay=0.9}]'", "ema.also: [] -> ", "leave it out of [[ema.also]]"},
        Case{"optimizer.type=sgd", "optimizer.type: ", "resume with optimizer_standard/adam"},
        Case{"data.num_images=37", "data.num_images: ", "Resume with the same data, or pass --allow-other-data"},
        Case{"'data={type=\"folder\",path=\"runs/small/samples\",image_size=16}'",
             "data.type: ", "Resume with the same data, or pass --allow-other-data"},
        Case{"'evaluate={every_images=8,keep_best=\"pixels.best\"," + evaluated + "}'", "pixels.best",
             "pixels.frechet"},
        Case{"'evaluate={every_images=8,reference=\"nowhere\"," + evaluated + "}'", "evaluate.reference", "nowhere"},
        Case{"train.cuda_graph=on", "train.cuda_graph = \"on\"", "With \"auto\""}}) {
    CAPTURE(set);
    const Outcome outcome = trained.run(std::string(kResume) + " --set train.total_images=32 --set " + set);
    CHECK_MESSAGE(outcome.status == 2, outcome.err);
    CHECK_MESSAGE(contains(outcome.err, key), outcome.err);
    CHECK_MESSAGE(contains(outcome.err, what_to_do), outcome.err);
    CHECK(content() == before);
  }
  // What the experiment does not show is the data's, not the user's.
  const std::string flags = "'data={type=\"folder\",path=\"images\",image_size=16}' --set run.name=files";
  fs::copy(folder / "samples", trained.folder.path() / "images");
  REQUIRE(trained.run("casdm train small.toml --set train.total_images=4 --set " + flags).status == 0);
  fs::copy_file(folder / "samples/24.png", trained.folder.path() / "images/more.png");
  const Outcome other = trained.run("casdm train --resume runs/files --set train.total_images=8");
  CHECK_MESSAGE(other.status == 1, other.err);
}

TEST_CASE(
    "weights of [[init]] that do not fit the network are refused at their key, as is a variance that nobody learned") {
  const Trained trained;
  const Outcome init = trained.run(
      "casdm train small.toml --set run.name=next --set head.theta.channels=16 --set "
      "'init=[{module=\"theta\",from=\"runs/small\"}]'");
  CHECK(init.status == 2);
  CHECK_MESSAGE(contains(init.err, "init.0.from: "), init.err);
  CHECK_MESSAGE(contains(init.err, "Give head.theta the options of the network that was trained"), init.err);
  CHECK_FALSE(fs::exists(trained.folder.path() / "runs/next"));
  write_file(trained.folder.path() / "x.pt", "PK and so on");
  const Outcome foreign =
      trained.run("casdm train small.toml --set run.name=pt --set 'init=[{module=\"theta\",from=\"x.pt\"}]'");
  CHECK_MESSAGE(contains(foreign.err, "`casdm import` makes a safetensors file"), foreign.err);
  const std::string log = read_file(trained.folder.path() / "runs/small/metrics.jsonl");
  const std::string learned = " --set 'sampler={type=\"ddpm\",num_inference_steps=2,variance=\"learned_range\"}'";
  for (const std::string& command : {"casdm sample runs/small --num 1 --out s" + learned,
                                     std::string(kResume) + " --set train.total_images=28" + learned}) {
    const Outcome outcome = trained.run(command);
    CHECK_MESSAGE(outcome.status == 2, command);
    CHECK_MESSAGE(contains(outcome.err, "variance = \"learned_range\", but the head predicts no variance"),
                  outcome.err);
  }
  CHECK(read_file(trained.folder.path() / "runs/small/metrics.jsonl") == log);
  const Outcome fresh = trained.run("casdm train small.toml --set run.name=fresh" + learned);
  CHECK_MESSAGE(fresh.status == 2, fresh.err);
  CHECK_MESSAGE(contains(fresh.err, "but the head predicts no variance"), fresh.err);
  CHECK_FALSE(fs::exists(trained.folder.path() / "runs/fresh"));
}

TEST_CASE("networks with options other than those trained are refused even if no shape shows it") {
  const Trained trained;
  const std::string log = read_file(trained.folder.path() / "runs/small/metrics.jsonl");
  for (const std::string& command : {std::string(kResume) + " --set train.total_images=32",
                                     std::string("casdm sample runs/small --num 1 --out s")}) {
    const Outcome outcome = trained.run(command + " --set head.theta.num_heads=2");
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(contains(outcome.err, "num_heads = 1, head.theta has 2"), outcome.err);
  }
  CHECK(read_file(trained.folder.path() / "runs/small/metrics.jsonl") == log);
  CHECK_FALSE(fs::exists(trained.folder.path() / "s"));
  const Outcome other = trained.run("casdm sample runs/small --num 1 --out t --set noise.offset=0.01");
  CHECK(other.status == 0);
  CHECK_MESSAGE(contains(other.err, "trained for other settings:\n  noise.offset: 0.008 -> 0.01"), other.err);
  const Outcome resumed = trained.run(std::string(kResume) +
                                      " --set train.total_images=28 --set noise.offset=0.01 --set "
                                      "head.gate_activation=clamp");
  CHECK_MESSAGE(resumed.status == 0, resumed.err);
  const std::string said = "the networks were trained for other settings up to 24 images:\n";
  CHECK_MESSAGE(contains(resumed.err, said + "  noise.offset: 0.008 -> 0.01\n  head.gate_activation: \"sigmoid\" -> "),
                resumed.err);
  const Outcome again = trained.run(std::string(kResume) + " --set train.total_images=32");
  CHECK_MESSAGE(!contains(again.err, "other settings"), again.err);
}

TEST_CASE(
    "no network of the program's own accepts weights trained with other options, whether shapes show them or not") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto run = [&](const std::string& command) { return shell("casdm " + command, folder.path()); };
  struct Network {
    const char *options, *option, *other;
  };
  for (const auto& [options, option, other] :
       {Network{"type=\"unet\", channels=8, channel_mult=[1,2], groups=4", "num_heads", "2"},
        Network{"type=\"dit\", patch=4, width=16, depth=2, num_heads=2", "num_heads", "4"},
        Network{"type=\"edm2_unet\", channels=8, channel_mult=[1,2], num_head_channels=8, attention_resolutions=[]",
                "res_balance", "0.5"}}) {
    CAPTURE(options);
    const std::string head = text(" --set 'head={type=\"single\", theta={", options, "}}' --set metrics=[]");
    const std::string changed = text(" --set head.theta.", option, "=", other);
    const Outcome trained = run("train small.toml --overwrite --set train.total_images=4" + head);
    REQUIRE_MESSAGE(trained.status == 0, trained.err);
    REQUIRE(run("export runs/small --module theta --overwrite --out t.safetensors").status == 0);
    const std::string init = " --set 'init=[{module=\"theta\",from=\"t.safetensors\"}]'";
    CHECK(run("train small.toml --dry-run" + head + init).status == 0);
    // All but those of the U-Net say which images they are for.
    const Outcome larger = run("import t.safetensors --overwrite --out i.safetensors --image-size 32");
    const bool is_known = !contains(options, "\"unet\"");
    CHECK_MESSAGE(larger.status == (is_known ? 2 : 0), larger.err);
    for (const std::string& command :
         {"train small.toml --dry-run" + head + init + changed, "sample runs/small --num 1 --out s" + changed,
          "train --resume runs/small --set train.total_images=8" + changed}) {
      const Outcome outcome = run(command);
      CHECK_MESSAGE(outcome.status == 2, command);
      CHECK_MESSAGE(contains(outcome.err, text(option, " = ")), outcome.err);
    }
  }
}

TEST_CASE("weights of a run whose outputs had another meaning are accepted with a message") {
  const Trained trained;
  const std::string from = " --set 'init=[{module=\"theta\",from=\"runs/small\",freeze=true}]' --set ";
  const std::string same =
      trained.run("casdm train small.toml --set run.name=same" + from + "train.total_images=4").err;
  CHECK_MESSAGE(!contains(same, "was trained for other settings"), same);
  const std::string path =
      trained.run("casdm train small.toml --set run.name=path" + from + "noise.type=linear --set train.total_images=4")
          .err;
  CHECK_MESSAGE(contains(path, "[[init]]: theta was trained for other settings in "), path);
  CHECK_MESSAGE(contains(path, "noise.type: \"noise_beta/cosine\" -> \"noise_beta/linear\""), path);
  REQUIRE(trained.run("casdm export runs/small --module theta --out theta.safetensors").status == 0);
  const std::string file =
      trained
          .run(
              "casdm train small.toml --set run.name=file --set "
              "'init=[{module=\"theta\",from=\"theta.safetensors\"}]' --set noise.type=linear --set "
              "train.total_images=4")
          .err;
  CHECK_MESSAGE(contains(file, "noise.type: \"noise_beta/cosine\" -> \"noise_beta/linear\""), file);
  std::string single = read_file(trained.folder.path() / "small.toml");
  single = single.substr(0, single.find("[head.phi]")) + single.substr(single.find("[[metrics]]"));
  single.replace(single.find("\"cascade\""), 9, "\"single\"");
  write_file(trained.folder.path() / "single.toml", single);
  const std::string head =
      trained.run("casdm train single.toml --set run.name=head" + from + "train.total_images=4").err;
  CHECK_MESSAGE(contains(head, "[head] was {\"type\":\"head_diffusion/cascade\""), head);
}

TEST_CASE("weights of another run keep their meaning, whichever command reads them") {
  const Trained trained;
  const std::string averages = " --set 'ema.also=[{name=\"p05\",sigma_rel=0.05},{name=\"p10\",sigma_rel=0.1}]' ";
  REQUIRE(trained
              .run("casdm train small.toml --set run.name=path --set noise.type=linear --set "
                   "ema.snapshot_every_images=4 --set train.total_images=8" +
                   averages)
              .status == 0);
  REQUIRE(trained.run("casdm ema runs/path --sigma-rel 0.07 --out average.safetensors").status == 0);
  const std::string said = "noise.type: \"noise_beta/linear\" -> \"noise_beta/cosine\"";
  for (const std::string weights : {"average.safetensors", "runs/path/checkpoints/000000000008/ema.safetensors"}) {
    CAPTURE(weights);
    const std::string of = " --weights " + weights;
    const Outcome sample = trained.run("casdm sample runs/small --num 1 --overwrite --out s" + of);
    CHECK_MESSAGE(sample.status == 0, sample.err);
    const Outcome exported =
        trained.run("casdm export runs/small --module theta --overwrite --out theta.safetensors" + of);
    CHECK_MESSAGE(exported.status == 0, exported.err);
    for (const std::string& err : {sample.err, exported.err})
      CHECK_MESSAGE(contains(err, weights + " was trained for other settings:\n  " + said), err);
    // An export says so again when it is used on the path of the run it was exported from.
    const std::string init =
        "casdm train small.toml --overwrite --set run.name=init --set train.total_images=4 --set "
        "'init=[{module=\"theta\",from=\"theta.safetensors\"}]'";
    const Outcome begun = trained.run(init);
    CHECK_MESSAGE(begun.status == 0, begun.err);
    CHECK_MESSAGE(contains(begun.err, said), begun.err);
  }
  const Outcome own = trained.run("casdm export runs/path --module theta --overwrite --out theta.safetensors");
  CHECK_MESSAGE(!contains(own.err, "other settings"), own.err);
}

TEST_CASE("a run killed before its first checkpoint starts again with the [[init]] weights it took") {
  const Trained trained;
  const fs::path runs = trained.folder.path() / "runs";
  trained.run(
      "casdm train small.toml --set run.name=next --set 'init=[{module=\"theta\",from=\"runs/small\"}]' "
      "--set train.total_images=100k --set checkpoint.every_images=100k & "
      "for i in $(seq 600); do test -s runs/next/metrics.jsonl && break; sleep 0.1; done; kill -9 $!; wait");
  const auto first_loss = [&] {
    std::istringstream log(read_file(runs / "next/metrics.jsonl"));
    std::string line;
    while (std::getline(log, line) && !contains(line, "\"loss\"")) {
    }
    return to_json(*from_json(line).find("loss"));
  };
  const std::string before = first_loss();
  REQUIRE(fs::exists(runs / "next/init.json"));
  fs::copy(runs / "next", runs / "late", fs::copy_options::recursive);
  REQUIRE(trained.run(std::string(kResume) + " --set train.total_images=28").status == 0);

  const Outcome outcome = trained.run("casdm train --resume runs/next --set train.total_images=8");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(first_loss() == before);

  fs::remove_all(runs / "small/checkpoints/000000000024");
  const std::string log = read_file(runs / "late/metrics.jsonl");
  const Outcome refused = trained.run("casdm train --resume runs/late");
  CHECK(refused.status == 1);
  CHECK_MESSAGE(contains(refused.err, "/runs/small/checkpoints/000000000024/ema.safetensors with the SHA-256"),
                refused.err);
  CHECK(read_file(runs / "late/metrics.jsonl") == log);
}
