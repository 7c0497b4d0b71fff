#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/augmentation.h"
#include "casdm/plugin.h"
#include "casdm/random.h"
#include "casdm/timestep_sampler.h"
#include "plugins/meddle.h"

/// Timestep samplers and augmentations that each violate one clause of their contract.
namespace {

using namespace casdm;

class Timesteps : public TimestepSampler {
 public:
  using Options = NoOptions;
  Timesteps(const Options&, const Spec& spec)
      : count(spec.schedule->num_train_timesteps()), times_(spec.schedule->range()) {}

  TimestepDraw draw(const std::vector<double>& u) const override {
    TimestepDraw draw;
    for (const double number : u) {
      const std::int64_t t = timestep(number);
      draw.t.push_back(time(t));
      draw.weight.push_back(weight(t));
    }
    return draw;
  }

  std::int64_t count;

 protected:
  virtual std::int64_t timestep(double u) const { return static_cast<std::int64_t>(u * static_cast<double>(count)); }
  virtual double weight(std::int64_t) const { return 1; }
  /// On a path without whole times, a time between the ends for each t.
  virtual double time(std::int64_t t) const {
    if (times_.is_whole) return static_cast<double>(t);
    return times_.first + static_cast<double>(t) / static_cast<double>(count) * (times_.last - times_.first);
  }

 private:
  TimeRange times_;
};

/// Treats every path as one of whole timesteps.
class WholeTimes : public Timesteps {
 public:
  using Timesteps::Timesteps;
  double time(std::int64_t t) const override { return static_cast<double>(t); }
};

class OutOfRange : public Timesteps {
 public:
  using Timesteps::Timesteps;
  std::int64_t timestep(double u) const override {
    return static_cast<std::int64_t>(u * static_cast<double>(count) + 1);
  }
};

/// Its weights are not the inverse of the probabilities.
class WrongWeights : public Timesteps {
 public:
  using Timesteps::Timesteps;
  double weight(std::int64_t t) const override { return t < count / 2 ? 0.5 : 1.6; }
};

/// Remembers what it observed outside its buffers.
class HiddenState : public Timesteps {
 public:
  using Timesteps::Timesteps;
  void observe(const Tensor& t, const std::vector<LossTerm>&) override { seen_ += t.size(0); }
  std::int64_t timestep(double u) const override { return (Timesteps::timestep(u) + seen_ / 7) % count; }

 private:
  std::int64_t seen_ = 0;
};

/// Draws its own random numbers.
class OwnNumbers : public Timesteps {
 public:
  using Timesteps::Timesteps;
  std::int64_t timestep(double) const override { return at::randint(count, {1}).item<std::int64_t>(); }
};

class Flip : public Augmentation {
 public:
  using Options = NoOptions;
  Flip(const Options&, const Spec&) {}
  std::int64_t label_size() const override { return 1; }
  Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override {
    Augmented result{images.clone(), at::zeros({images.size(0), 1})};
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      if (uniform(seeds[i]) < 0.5) continue;
      result.images[static_cast<std::int64_t>(i)].copy_(images[static_cast<std::int64_t>(i)].flip({2}));
      result.labels[static_cast<std::int64_t>(i)].fill_(1);
    }
    return result;
  }
};

/// Does not say what it did.
class Untold : public Flip {
 public:
  using Flip::Flip;
  Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override {
    return {Flip::apply(images, seeds).images, at::zeros({images.size(0), 1})};
  }
};

/// Changes the images that it gets.
class InPlace : public Flip {
 public:
  using Flip::Flip;
  Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override {
    const Augmented result = Flip::apply(images, seeds);
    Tensor(images).copy_(result.images);
    return result;
  }
};

/// Mixes in the mean of the batch.
class SeesTheBatch : public Flip {
 public:
  using Flip::Flip;
  Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override {
    Augmented result = Flip::apply(images, seeds);
    result.images = result.images + 0.1 * images.mean(0, /*keepdim=*/true);
    return result;
  }
};

class WrongLabels : public Flip {
 public:
  using Flip::Flip;
  std::int64_t label_size() const override { return 2; }
};

/// Learns from terms that are only recorded.
class LearnsFromRecords : public Timesteps {
 public:
  using Timesteps::Timesteps;
  void observe(const Tensor&, const std::vector<LossTerm>& terms) override {
    for (const LossTerm& term : terms) seen_ = std::max(seen_, term.value.max().item<double>());
  }
  std::int64_t timestep(double u) const override { return seen_ > 100 ? 0 : Timesteps::timestep(u); }

 private:
  double seen_ = 0;
};

class NeedsColours : public Flip {
 public:
  using Flip::Flip;
  Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override {
    Augmented result = Flip::apply(images, seeds);
    result.images = result.images + at::zeros({1, 3, 1, 1});
    return result;
  }
};

class Bytes : public Flip {
 public:
  using Flip::Flip;
  Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override {
    Augmented result = Flip::apply(images, seeds);
    result.images = (result.images + 1) * 127.5;
    return result;
  }
};

struct MeddlerOptions {
  std::string change = "none";
  static void describe(Schema<MeddlerOptions>& s) {
    s.option("change", &MeddlerOptions::change, "What it changes of the process.")
        .choices(casdm::testing::all_changes());
  }
};

class MeddlingTimesteps : public Timesteps {
 public:
  using Options = MeddlerOptions;
  MeddlingTimesteps(const Options& options, const Spec& spec) : Timesteps({}, spec), change_(options.change) {}
  void observe(const Tensor&, const std::vector<LossTerm>&) override { casdm::testing::meddle(change_); }

 private:
  std::string change_;
};

class MeddlingAugmentation : public Flip {
 public:
  using Options = MeddlerOptions;
  MeddlingAugmentation(const Options& options, const Spec& spec) : Flip({}, spec), change_(options.change) {}
  Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override {
    casdm::testing::meddle(change_);
    return Flip::apply(images, seeds);
  }

 private:
  std::string change_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Broken timestep samplers and augmentations", .licence = "Apache-2.0"});
  plugin.add<WholeTimes>("whole_times", "Whole times on every path.");
  plugin.add<OutOfRange>("out_of_range", "Draws t = T.");
  plugin.add<WrongWeights>("wrong_weights", "Weights that move the objective.");
  plugin.add<HiddenState>("hidden_state", "State outside its buffers.");
  plugin.add<OwnNumbers>("own_numbers", "Draws from the global generator.");
  plugin.add<LearnsFromRecords>("learns_from_records", "A term of weight 0 changes its draws.");
  plugin.add<NeedsColours>("needs_colours", "Makes three channels of one.");
  plugin.add<Bytes>("bytes", "Images in 0..255.");
  plugin.add<MeddlingTimesteps>("meddling_timesteps", "Changes something of the process.");
  plugin.add<MeddlingAugmentation>("meddling_augmentation", "Changes something of the process.");
  plugin.add<Flip>("flip", "Keeps its contract.");
  plugin.add<Untold>("untold", "Labels of zero for changed images.");
  plugin.add<InPlace>("in_place", "Changes the caller's images.");
  plugin.add<SeesTheBatch>("sees_the_batch", "An image depends on its neighbours.");
  plugin.add<WrongLabels>("wrong_labels", "Fewer labels than declared.");
}
