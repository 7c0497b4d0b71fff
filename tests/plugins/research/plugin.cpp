#include "research.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::research;
  plugin.describe({.summary = "Small forms of research to come", .licence = "Apache-2.0"});
  add_paths(plugin);
  add_heads(plugin);
  add_metrics(plugin);
  add_networks(plugin);
  add_optimizers(plugin);
}
