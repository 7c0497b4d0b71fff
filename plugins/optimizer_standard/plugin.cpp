#include "casdm/plugin.h"

#include "adam.h"
#include "lion.h"
#include "muon.h"
#include "sgd.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::optimizer_standard;
  plugin.describe({.summary = "The optimisers in common use", .licence = "Apache-2.0"});
  plugin.add<AdamW>("adamw", "Adam with decoupled weight decay (Loshchilov & Hutter 2019).").recommended();
  plugin.add<Adam>("adam", "Kingma & Ba 2015, weight decay as an L2 penalty.");
  plugin.add<Sgd>("sgd", "Gradient descent with momentum.");
  plugin.add<Lion>("lion", "The sign of a momentum (Chen et al. 2023).");
  plugin.add<Muon>("muon",
                   "Orthogonalised momentum for matrices and convolutions, AdamW for the rest (Jordan et al. 2024).");
}
