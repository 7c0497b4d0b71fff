#include <ATen/core/grad_mode.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/random.h"
#include "research.h"

namespace casdm::research {
namespace {

Tensor seeded(at::IntArrayRef shape, std::uint64_t seed) {
  return at::empty(shape, at::kFloat).normal_(0, 0.3, make_generator(seed));
}

struct NetworkOptions {
  ComponentConfig theta;
  static void describe(Schema<NetworkOptions>& s) {
    s.component("theta", &NetworkOptions::theta, Backbone::kind, "The network.").required();
  }
};

struct AlignedOptions : NetworkOptions {
  std::string tap = "middle";
  Count until_images = 0;
  static void describe(Schema<AlignedOptions>& s) {
    s.component("theta", static_cast<ComponentConfig AlignedOptions::*>(&AlignedOptions::theta), Backbone::kind,
                "The network.")
        .required();
    s.option("tap", &AlignedOptions::tap, "The features that are aligned.");
    s.option("until_images", &AlignedOptions::until_images, "Images after which the alignment stops.");
  }
};

class Projector final : public Network {
 public:
  Projector(std::int64_t in, std::int64_t out, std::uint64_t seed)
      : weight_(add_parameter("weight", seeded({out, in}, seed))) {}
  Tensor operator()(const Tensor& x) const { return at::linear(x, weight_); }

 private:
  Tensor weight_;
};

/// Feature alignment (REPA, Yu et al. 2025) with fixed random features in DINO's place, stopped after a number of
/// images (HASTE, Wang et al. 2025).
class AlignedHead final : public CascadeHead {
 public:
  using Options = AlignedOptions;
  static constexpr std::int64_t kFeatures = 6;

  AlignedHead(const Options& options, const Spec& spec)
      : options_(options),
        schedule_(spec.schedule),
        theta_("theta", options.theta, spec, spec.image.channels, spec.image.channels),
        features_(seeded({kFeatures, spec.image.channels}, 5)) {
    require_taps(*theta_.backbone(), {options.tap});
    projector_ = std::make_shared<Projector>(theta_.backbone()->taps().front().shape.front(), kFeatures,
                                             derive_seed(spec.seed, "projector"));
  }

  std::vector<NamedModule> modules() const override { return {theta_.module(), {"projector", projector_}}; }
  bool gradients_are_separate() const override { return false; }

  Estimate estimate(const EstimateInput& input) override {
    Estimate estimate;
    estimate.eps = theta_(input.x_t, input.t, input.condition);
    estimate.x0_from_eps = schedule_->predict_x0_from_eps(input.x_t, input.t, estimate.eps);
    return estimate;
  }

  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override {
    const BackboneOutput output = theta_.with_taps(batch.x_t, batch.t, batch.condition_for("theta"), {options_.tap});
    Losses losses;
    losses.terms = metrics.evaluate(schedule_->predict_x0_from_eps(batch.x_t, batch.t, output.sample), batch, "theta");
    losses.terms.push_back({"eps", squared_error(output.sample, batch.eps), 1.0, "theta"});
    const bool is_active = options_.until_images == 0 || batch.images_seen < options_.until_images;
    const Tensor projected = (*projector_)(output.taps.front().second.mean({2, 3}).to(at::kFloat));
    const Tensor wanted = at::linear(batch.x0.mean({2, 3}), features_);
    const Tensor distance = 1 - at::cosine_similarity(projected, wanted, 1, 1e-6);
    losses.terms.push_back({"alignment", is_active ? distance : distance.detach(), 0.5, "projector"});
    return losses;
  }

 private:
  Options options_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  HeadNetwork theta_;
  std::shared_ptr<Projector> projector_;
  Tensor features_;
};

struct TeacherOptions : NetworkOptions {
  std::string fault = "none";
  static void describe(Schema<TeacherOptions>& s) {
    s.component("theta", static_cast<ComponentConfig TeacherOptions::*>(&TeacherOptions::theta), Backbone::kind,
                "The network.")
        .required();
    s.option("fault", &TeacherOptions::fault, "What goes wrong.").choices({"none", "each_other", "stranger"});
  }
};

/// Consistency training (Song et al. 2023): the student at t meets its running average at the time before, with the
/// same noise and the same dropout, by the metrics.
class TeacherHead final : public CascadeHead {
 public:
  using Options = TeacherOptions;
  TeacherHead(const Options& options, const Spec& spec)
      : fault_(options.fault),
        schedule_(spec.schedule),
        student_("theta", options.theta, spec, spec.image.channels, spec.image.channels),
        teacher_("teacher", options.theta, spec, spec.image.channels, spec.image.channels) {}

  std::vector<NamedModule> modules() const override {
    NamedModule student = student_.module();
    NamedModule teacher = teacher_.module(/*is_trainable=*/false);
    teacher.average_of = fault_ == "stranger" ? "nobody" : "theta";
    teacher.average_decay = 0.9;
    if (fault_ == "each_other") {
      student.average_of = "teacher";
      student.is_trainable = false;
    }
    return {student, teacher};
  }

  Estimate estimate(const EstimateInput& input) override {
    Estimate estimate;
    estimate.x0 = student_(input.x_t, input.t, input.condition);
    estimate.x0_from_eps = estimate.x0;
    estimate.eps = schedule_->predict_eps_from_x0(input.x_t, input.t, estimate.x0);
    return estimate;
  }

  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override {
    const Condition condition = batch.condition_for("theta");
    const Tensor x0 = student_(batch.x_t, batch.t, condition);
    TrainingBatch towards = batch;
    {
      const at::NoGradGuard no_grad;
      const Tensor s = schedule_->previous(batch.t);
      const Tensor is_clean = (s == schedule_->range().clean).view({-1, 1, 1, 1});
      const Tensor x_s = schedule_->q_sample(batch.x0, s, batch.eps);
      towards.target = at::where(is_clean, batch.x0, teacher_(x_s, s, batch.condition_for("theta")));
    }
    Losses losses;
    losses.terms = metrics.evaluate(x0, towards, "theta");
    losses.terms.push_back({"consistency", squared_error(x0, towards.target), 1.0, "theta"});
    return losses;
  }

 private:
  std::string fault_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  HeadNetwork student_, teacher_;
};

}  // namespace

void add_heads(PluginRegistrar& plugin) {
  plugin.add<AlignedHead>("aligned", "Predicts the noise, its inner features aligned with others.");
  plugin.add<TeacherHead>("teacher", "A student and its running average.");
}

}  // namespace casdm::research
