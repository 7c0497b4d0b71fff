#pragma once

/// Width and exponent of a power-function average; see power_profile.h.
namespace casdm {

/// The largest width, that of the uniform average (gamma = 0): 12^(-1/2).
constexpr double kLargestSigmaRel = 0.28867513459481287;
/// Narrower ones are the weights themselves, and their exponents too large to compute with.
constexpr double kSmallestSigmaRel = 1e-6;

/// (gamma + 1)^(1/2) (gamma + 2)^(-1) (gamma + 3)^(-1/2), for gamma >= 0.
double sigma_rel_of(double gamma);

/// The gamma of a width: the largest root of gamma^3 + 7 gamma^2 + (16 - sigma^-2) gamma + (12 - sigma^-2) (Karras
/// et al. 2024, appendix C). Throws ConfigError unless sigma_rel is between these.
double gamma_of(double sigma_rel);

}  // namespace casdm
