#include <ATen/core/grad_mode.h>

#include "research.h"

namespace casdm::research {
namespace {

struct NetworkOptions {
  ComponentConfig theta;
  static void describe(Schema<NetworkOptions>& s) {
    s.component("theta", &NetworkOptions::theta, Backbone::kind, "The network.").required();
  }
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

/// Consistency training (Song et al. 2023): the student at t is compared with its running average at the previous time,
/// with the same noise and the same dropout, by the metrics.
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

void add_heads(PluginRegistrar& plugin) { plugin.add<TeacherHead>("teacher", "A student and its running average."); }

}  // namespace casdm::research
