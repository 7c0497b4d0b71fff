#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "casdm/head_network.h"
#include "casdm/metric_loss.h"
#include "casdm/noise_scheduler.h"
#include "casdm/plugin.h"

/// Small examples of what research with this framework may need: each is a component and a TOML file, unknown to the
/// host.
namespace casdm::research {

void add_paths(PluginRegistrar& plugin);
void add_heads(PluginRegistrar& plugin);
void add_metrics(PluginRegistrar& plugin);
void add_networks(PluginRegistrar& plugin);
void add_optimizers(PluginRegistrar& plugin);

}  // namespace casdm::research
