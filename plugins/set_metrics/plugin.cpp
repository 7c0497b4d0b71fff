#include "casdm/plugin.h"

#include "frechet.h"
#include "inception_score.h"
#include "kernel_distance.h"
#include "precision_recall.h"
#include "sliced_wasserstein.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::set_metrics;
  plugin.describe({.summary = "Distances between sets of images, by their features", .licence = "Apache-2.0"});
  plugin.add<Frechet>("frechet", "Frechet distance of Gaussians: FID on `inception` (Heusel et al. 2017).")
      .recommended();
  plugin.add<FrechetInfinity>("frechet_infinity", "The same for infinitely many images (Chong & Forsyth 2020).");
  plugin.add<KernelDistance>("kernel_distance", "Kernel distance: KID on `inception` (Binkowski et al. 2018).")
      .recommended();
  plugin.add<Mmd>("mmd", "Maximum mean discrepancy with a Gaussian kernel (Jayasumana et al. 2024).");
  plugin.add<PrecisionRecall>("precision_recall", "Precision, recall, density and coverage by nearest neighbours.");
  plugin.add<InceptionScore>("inception_score", "Inception score, without a reference (Salimans et al. 2016).");
  plugin.add<SlicedWasserstein>("sliced_wasserstein", "Wasserstein distance over random directions.");
}
