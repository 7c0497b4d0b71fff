#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace casdm {

/// A curve: of one run, or of the runs of an arm.
struct Curve {
  struct Point {
    double x = 0;
    double y = 0;                                         ///< the mean if there are several runs
    std::optional<std::pair<double, double>> range = {};  ///< the smallest and largest value of several runs
  };
  std::string name;
  std::size_t colour = 0;     ///< index; the same thing has the same colour in all plots
  std::vector<Point> points;  ///< by increasing x; all finite
};

/// Several curves on the same axes.
struct Plot {
  std::string title;
  std::string x_label;
  std::string note = {};  ///< a sentence below the title
  std::vector<Curve> curves;
  double bin_width = 0;  ///< above 0: the curves are histograms, and each point is the midpoint of a bin
};

/// The plot as HTML: a figure with an inline SVG and a text that describes it, a checkbox for each curve, and a
/// collapsed table of its points. Histograms are drawn as steps. The y axis of curves is logarithmic if all values are
/// positive and span a factor of more than 30. For long curves, the smallest and largest point in each of about 150
/// sections of the x axis are drawn, so that no spike is lost.
/// @param id  id of the figure, unique in the page
std::string to_html(const Plot& plot, const std::string& id);

/// Round values that divide [low, high], at most `most` + 1 of them: 0, 0.5, 1.
std::vector<double> ticks(double low, double high, std::size_t most);

/// The points of a curve that a plot draws.
std::vector<Curve::Point> thinned(const std::vector<Curve::Point>& points);

}  // namespace casdm
