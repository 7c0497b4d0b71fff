#include "framework/config/evaluate_options.h"

namespace casdm {

void SetMetricOptions::describe(Schema<SetMetricOptions>& s) {
  s.flatten_component(&SetMetricOptions::metric, "set_metric");
  s.option("name", &SetMetricOptions::name,
           "Put before the names of its scores (`<judge>.<name>.<score>`), where a judge has two metrics of a kind; "
           "empty: `<judge>.<score>`.");
}

void JudgeOptions::describe(Schema<JudgeOptions>& s) {
  s.flatten_component(&JudgeOptions::extractor, "feature_extractor");
  s.option("name", &JudgeOptions::name,
           "Name in tables, logs and JSON; empty: the component's name, and the feature's where it is not the first.");
  s.option("feature", &JudgeOptions::feature, "Which feature of the extractor to compare; empty: the first one.");
  s.option("metrics", &JudgeOptions::metrics,
           "What is computed from the features, one table each; none: the recommended metrics.");
}

void EvaluateOptions::describe(Schema<EvaluateOptions>& s) {
  s.option("every_images", &EvaluateOptions::every_images,
           "Judge samples of the main average this often in training, and at the end; 0: never.")
      .at_least(0)
      .in_unit("images");
  s.option("num", &EvaluateOptions::num,
           "Samples to draw and judge; published scores take 50,000. `casdm evaluate --num` overrides it.")
      .range(1, 1000000000)
      .in_unit("images");
  s.option(
      "reference", &EvaluateOptions::reference,
      "What samples are compared with: a folder or archive of images, an NPZ, an experiment file (its [data]), or a "
      "file of statistics; empty: the images of [data].");
  s.option("reference_num", &EvaluateOptions::reference_num,
           "Images of the reference, spread evenly over it; 0: all of them.")
      .at_least(0)
      .in_unit("images");
  s.option("seed", &EvaluateOptions::seed, "Seed of the samples' noise; the training's draws do not depend on it.")
      .at_least(0);
  s.option("keep_best", &EvaluateOptions::keep_best,
           "Name of a score, `<judge>.<score>`: the checkpoint where it was best is kept, as checkpoints/best.")
      .not_with("every_images", {0});
  s.option("judges", &EvaluateOptions::judges,
           "Who judges the samples, one table each; none: the recommended feature extractor.");
}

void declare_evaluate(OptionSchema& experiment) {
  OptionSpec spec = detail::OptionTraits<EvaluateOptions>::spec();
  spec.name = "evaluate";
  spec.doc = "How samples are judged, by `casdm evaluate` and in training.";
  spec.default_value = write_options(EvaluateOptions());
  experiment.push_back(std::move(spec));
}

EvaluateOptions evaluate_options(const Value& experiment) {
  const Value* table = experiment.find("evaluate");
  return table == nullptr ? EvaluateOptions() : read_options<EvaluateOptions>(*table);
}

}  // namespace casdm
