#include "casdm/plugin.h"

#include "elementwise.h"
#include "structural.h"
#include "transforms.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::metric_pixel;
  plugin.describe(
      {.summary = "Distances between pixels, their slopes, edges, spectra and wavelets", .licence = "Apache-2.0"});
  plugin.add<L1Loss>("l1", "Mean absolute difference.");
  plugin.add<L2Loss>("l2", "Mean squared difference.");
  plugin.add<HuberLoss>("huber", "Squared for small differences, absolute for large ones (Huber 1964).");
  plugin.add<PseudoHuberLoss>("pseudo_huber", "Smooth Huber norm of the whole image (Song & Dhariwal 2023).");
  plugin.add<CharbonnierLoss>("charbonnier", "Smooth absolute difference (Charbonnier et al. 1994).");
  plugin.add<GradientLoss>("gradient", "Mean absolute difference of Sobel slopes.");
  plugin.add<EdgeLoss>("edge", "Mean absolute difference of the strength of edges.");
  plugin.add<DctLoss>("dct", "Frequencies of blocks of 8 pixels, weighted as JPEG does.");
  plugin.add<WaveletLoss>("wavelet", "Haar wavelets at several scales.");
  plugin.add<SpectralLoss>("spectral", "Mean absolute difference of Fourier magnitudes.");
}
