#include "framework/report/report.h"

#include <doctest/doctest.h>

#include <cmath>
#include <ctime>
#include <limits>

#include "casdm/text.h"
#include "config/support.h"
#include "framework/report/html.h"
#include "framework/report/log_curves.h"
#include "framework/report/plot.h"
#include "framework/report/written_page.h"
#include "framework/support/files.h"
#include "framework/support/sanitizers.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kPicture = "\x89PNG\r\n\x1a\n and so on";

constexpr const char* kConfig =
    "[run]\nname = \"<b>&'\\\"\"\nseed = 3\n[train]\ntotal_images = 10000\n[[metrics]]\ntype = \"l1\"\n";

std::string line(int images) {
  const double loss = 1.0 / images + (images == 5013 ? 7 : 0);
  const std::string parts = text("{\"mean\":", number(loss), ",\"by_t\":[0.1,0.2,0.3,", number(loss), "]}");
  std::string zeros;  // of the bins between the first and the last
  for (int i = 1; i < 19; ++i) zeros += ",0";
  const std::string none = text("[0", zeros, ",0]");
  const std::string gate = text(parts.substr(0, parts.size() - 1), ",\"histogram\":[[7", zeros, ",1],", none, ",", none,
                                ",[0", zeros, ",5]]}");
  return text("{\"images\":", images, ",\"step\":1,\"seconds\":", number(images / 10.0), ",\"learning_rate\":1e-4,",
              "\"images_per_second\":10.0,\"threads\":1,\"loss\":{\"eps\":", parts, ",\"x0\":", parts,
              ",\"mu\":", parts, ",\"metric.<i>\":", parts, "},\"statistic\":{\"gate\":", gate, ",\"error.x0\":", parts,
              "},\"grad_norm\":{\"theta\":0.1,\"phi\":0.2}}\n");
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

}  // namespace

TEST_CASE("text becomes HTML that shows it and has no other effect") {
  CHECK(html("<script>alert(\"1\")</script> & more") == "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; more");
  CHECK(html("\x1b[31m\u202e") == "\\x1b[31m\\u202e");
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");  // RFC 4648, section 10
  CHECK(base64("foobar") == "Zm9vYmFy");
}

TEST_CASE("the ticks of an axis are round numbers and lie on it") {
  CHECK(ticks(0, 1, 5) == std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1});
  CHECK(ticks(0, 8000, 4) == std::vector<double>{0, 2000, 4000, 6000, 8000});
  CHECK(ticks(-4e307, 4e307, 5).size() <= 11);
  CHECK_FALSE(std::signbit(ticks(-1e-12, 1, 5)[0]));  // "0", not "-0"
  CHECK(ticks(-0.3, 0.21, 5) == std::vector<double>{-0.2, 0, 0.2});
  CHECK(ticks(1, std::nextafter(1, 2), 5).size() <= 11);  // numbers that cannot be counted up from one to the other
  for (const double high : {1e-9, 3.0, 7e11}) CHECK(ticks(0, high, 5).size() <= 6);
}

TEST_CASE("a long curve is drawn with its spikes and its ends") {
  std::vector<Curve::Point> points;
  for (int i = 0; i < 10000; ++i) points.push_back({double(i), i == 7777 ? 50.0 : std::sin(i * 0.01)});
  const std::vector<Curve::Point> drawn = thinned(points);
  CHECK(drawn.size() <= 302);
  CHECK(drawn.front().x == 0);
  CHECK(drawn.back().x == 9999);
  CHECK(std::any_of(drawn.begin(), drawn.end(), [](const Curve::Point& point) { return point.y == 50; }));
  for (std::size_t i = 1; i < drawn.size(); ++i) CHECK(drawn[i].x > drawn[i - 1].x);
  points.resize(200);
  CHECK(thinned(points).size() == 200);
}

TEST_CASE("a plot of extreme numbers has an end") {
  constexpr double most = std::numeric_limits<double>::max();
  for (const auto& [low, high] : {std::pair(1e-300, most), std::pair(-most, most), std::pair(0.0, most)}) {
    const Plot plot{"loss", "images", "", {{"a", 0, {{0, low}, {10, high}}}}};
    const std::string page = to_html(plot, "p");
    CHECK(page.size() < 20'000);
    CHECK_MESSAGE(page.find("nan") == std::string::npos, page);
    CHECK_MESSAGE(page.find("inf") == std::string::npos, page);
  }
}

TEST_CASE("a plot has a drawing, a description, a box for each curve and a table") {
  Plot plot{"loss & <more>", "images", "", {{"a", 0, {{0, 1}, {10, 0.5}}}, {"b", 9, {{0, 2}, {10, 0.001}}}}};
  const std::string page = to_html(plot, "p");
  CHECK(page.find(
            "aria-label=\"loss &amp; &lt;more&gt; over images, logarithmic: a from 1 to 0.5; b from 2 to 0.001\"") !=
        std::string::npos);
  CHECK(count(page, "<polyline") == 4);  // two of them in the legend
  CHECK(count(page, "data-shows=") == 2);
  CHECK(page.find("class=\"curve c1 d1\"") != std::string::npos);
  CHECK(page.find("<th scope=\"row\">10</th><td class=\"nowrap\">0.5</td><td class=\"nowrap\">0.001</td>") !=
        std::string::npos);
  SUBCASE("and one without any spread") {
    plot.curves = {{"flat", 0, {{5, 0}}}};
    CHECK(to_html(plot, "p").find("nan") == std::string::npos);
    plot.curves = {{"flat", 0, {{5, -2}, {6, -2}}}};
    CHECK(to_html(plot, "p").find("nan") == std::string::npos);
  }
}

TEST_CASE("the report of a run with 10,000 lines takes at most 2 s and is one self-contained page") {
  const TemporaryFolder folder;
  folder.write("run/config.toml", kConfig);
  std::string log;
  for (int images = 1; images <= 10000; ++images) log += line(images);
  folder.write("run/metrics.jsonl", log);
  for (const char* name : {"run/samples/5000.png", "run/samples/10000.png", "run/samples/mine.png"}) {
    folder.write(name, kPicture);
  }
  folder.write("run/samples/7000.png", "a secret");
  folder.write("elsewhere.png", kPicture);
  std::filesystem::create_symlink("../../elsewhere.png", "run/samples/8000.png");
  const std::clock_t start = std::clock();
  const std::string page = report_of("run");
  // Processor time, so that other processes do not matter.
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  MESSAGE(seconds << " s, " << page.size() << " bytes");
  if (!kIsSanitized) CHECK(seconds < 2);
  CHECK(page.size() < 2 << 20);
  CHECK_NOTHROW(refuse_other_page("report", "report.html"));  // there is none
  CHECK(page == report_of("run"));

  CHECK(page.find("<b>&'") == std::string::npos);
  CHECK(page.find("<h1>&lt;b&gt;&amp;'&quot;</h1>") != std::string::npos);
  CHECK(page.find("metric.<i>") == std::string::npos);
  CHECK(page.find("http:") == std::string::npos);
  CHECK(page.find("https:") == std::string::npos);
  CHECK(count(page, "<script") == 1);
  CHECK(count(page, "src=\"data:image/png;base64,") == 2);
  for (const char* title : {"loss.eps", "loss.metric.&lt;i&gt;", "statistic.gate", "grad_norm.phi", "learning_rate"}) {
    CHECK(page.find(text("<figcaption>", title, "</figcaption>")) != std::string::npos);
  }
  CHECK(page.find("<figcaption>statistic.gate: histogram<small>") != std::string::npos);
  CHECK(page.find("t: least noise most often about 0.025; t: most noise most often about 0.975\"") !=
        std::string::npos);
}

TEST_CASE("the report of a run says what each number of the log is") {
  const TemporaryFolder folder;
  folder.write("run/config.toml", kConfig);
  folder.write("run/metrics.jsonl", R"({"images":9,"seconds":5.5,"loss":{"x0":{"mean":1,"grad_norm":{"phi":2}}}})"
                                    "\n");
  const std::string page = report_of("run");
  const auto origin = [&](const std::string& name) {
    const std::size_t row = page.find(text("<th scope=\"row\">", name, "</th>")),
                      begin = page.find("in the log: ", row);
    return row == std::string::npos ? "" : page.substr(begin, page.find('<', begin) - begin);
  };
  CHECK(origin("seconds") == "in the log: total up to the last line");
  CHECK(origin("loss.x0") == "in the log: mean since the previous line");
  CHECK(origin("loss.x0.grad_norm.phi") ==
        "in the log: mean over the steps since the previous line at which it was taken");
}

TEST_CASE("the report of a sweep shows its arms side by side") {
  const TemporaryFolder folder;
  for (const char* run : {"a-s3", "b-s3"}) {
    folder.write(text("s/", run, "/config.toml"), text(kConfig, "weight = ", run[0] == 'a' ? "1.0" : "2.0", "\n"));
    folder.write(text("s/", run, "/metrics.jsonl"), line(5000) + line(10000));
    folder.write(text("s/", run, "/samples/10000.png"), kPicture);
  }
  folder.write("s/cells/c-s3.json", "{\"problem\":\"died <here>\"}");
  folder.write(
      "s/sweep.json",
      R"({"format":1,"name":"study","arms":[{"name":"a","baseline":0},{"name":"b","baseline":0},)"
      R"({"name":"c","baseline":0}],"cells":[{"name":"a-s3","arm":0,"seed":3},{"name":"b-s3","arm":1,"seed":3},)"
      R"({"name":"c-s3","arm":2,"seed":3}]})");
  const std::string page = report_of("s");
  CHECK(page.find("<dt>runs</dt><dd>2 of 3 complete</dd>") != std::string::npos);
  CHECK(page.find("c, seed 3: failed: died &lt;here&gt;") != std::string::npos);
  CHECK(page.find("<td><code>1.0</code></td><td><code>2.0</code></td><td class=\"nowrap\">no run yet</td>") !=
        std::string::npos);
  CHECK(page.find("statistic.gate by t") != std::string::npos);
  CHECK(count(page, "<figure><figcaption>") == 2);
}

TEST_CASE("the curve of an arm is a mean over the same runs from end to end") {
  const TemporaryFolder folder;
  const auto write_run = [&](const std::string& run, const std::string& log) {
    folder.write(text("s/", run, "/config.toml"), text(kConfig, "weight = ", run[0] == 'a' ? "1.0" : "2.0", "\n"));
    folder.write(text("s/", run, "/metrics.jsonl"), log);
  };
  const auto logged = [](int images, double rate) {
    return text("{\"images\":", images, ",\"learning_rate\":", number(rate), ",\"loss\":{\"eps\":1.0}}\n");
  };
  write_run("a-s3", logged(5000, 1) + logged(10000, 1));
  write_run("a-s4", logged(5000, 9));
  write_run("b-s3", logged(2000, 2) + logged(5000, 4));
  write_run("b-s4", logged(2000, 4));
  folder.write("s/sweep.json",
               R"({"format":1,"name":"study","arms":[{"name":"a","baseline":0},{"name":"b","baseline":0}],"cells":[)"
               R"({"name":"a-s3","arm":0,"seed":3},{"name":"a-s4","arm":0,"seed":4},{"name":"b-s3","arm":1,"seed":3},)"
               R"({"name":"b-s4","arm":1,"seed":4},{"name":"b-s5","arm":1,"seed":5}]})");
  const std::string page = report_of("s");
  const std::string plot = page.substr(page.find("<figcaption>learning_rate"));
  // Of arm a the incomplete run is left out as in the tables, and the curve of b ends where one of its runs does.
  CHECK_MESSAGE(plot.find("a from 1 to 1; b from 3 to 3\"") != std::string::npos, plot.substr(0, 2000));
  CHECK(page.find("<p>Left out, since they are not complete: a, seed 4.</p>") != std::string::npos);
  CHECK(page.find("<p>Shown up to the point that all runs begun so far have reached: b.</p>") != std::string::npos);
  folder.write("s/a-s4/metrics.jsonl", logged(5000, 9) + logged(10000, 9));
  const std::string complete = report_of("s");
  CHECK(complete.find("a from 5 to 5; b from 3 to 3\"") != std::string::npos);
  CHECK(complete.find("Left out") == std::string::npos);
}

TEST_CASE("scores measured differently during training are not one curve") {
  const auto judged = [](int images, int num, double value) {
    return text(R"({"images":)", images, R"(,"evaluation":{"num":)", num, R"(,"measure":"m)", num,
                R"(","scores":{"eye.gap":{"value":)", number(value), R"(,"lower_is_better":true}}}})", "\n");
  };
  const TemporaryFolder folder;
  folder.write("a/metrics.jsonl", judged(1, 8, 5) + judged(2, 8, 4) + judged(3, 9, 7));
  folder.write("b/metrics.jsonl", judged(1, 8, 5));
  folder.write("c/metrics.jsonl", judged(1, 9, 7));
  const RunLog resumed = read_run_log("a");
  CHECK(resumed.names == std::vector<std::string>{"eye.gap", "eye.gap, measured differently (2)"});
  CHECK(resumed.columns.at("eye.gap").size() == 2);
  const auto note = [](const char* one, const char* other) {
    return plots_of_arms({"one", "other"}, {{read_run_log(one)}, {read_run_log(other)}}).front().note;
  };
  CHECK(note("a", "b").empty());
  CHECK(note("b", "c") == "Judged with different numbers of images, seeds or references: not comparable");
}

TEST_CASE("a report shows the evaluations of all checkpoints, even of one beyond the end of the log") {
  const TemporaryFolder folder;
  folder.write("r/config.toml", kConfig);
  folder.write("r/metrics.jsonl", line(3000));
  for (const int images : {1000, 3524}) {
    folder.write(
        text("r/evaluation/", images, ".json"),
        text(R"({"what":"run","num":24,"run":{"checkpoint":{"images":)", images,
             R"(},"weights":{"name":"ema"}},"reference":{"name":"emoji"},"scores":[{"name":"eye.gap","value":)",
             images / 10, R"(,"lower_is_better":true,"judge":"eye"}],"warnings":[]})"));
  }
  const std::string page = report_of("r");
  CHECK(page.find("Evaluations of other checkpoints") != std::string::npos);
  for (const char* row : {"1000</td><td class=\"nowrap\">eye.gap</td><td class=\"nowrap\">100</td>",
                          "3524</td><td class=\"nowrap\">eye.gap</td><td class=\"nowrap\">352</td>"}) {
    CHECK_MESSAGE(page.find(row) != std::string::npos, row);
  }
}

TEST_CASE("a report shows what real images scored, once for all runs, and no file can inject anything") {
  const TemporaryFolder folder;
  const std::string floor =
      R"({"what":"floor","name":"<i>held.zip</i>","num":256,"scores":[{"name":"a.kernel","value":0.0125,)"
      R"("standard_error":0.002,"num":256,"reference_num":1277},{"name":7},8]})";
  for (const char* run : {"run", "s/a-s3", "s/a-s4"}) {
    folder.write(text(run, "/config.toml"), kConfig);
    folder.write(text(run, "/metrics.jsonl"), line(10000));
    folder.write(text(run, "/evaluation/floor-1.json"), floor);
    folder.write(text(run, "/evaluation/floor-2.json"), "{\"what\":\"floor\",\"scores\":7}");
    folder.write(text(run, "/evaluation/floor-3.json"), "{");
  }
  folder.write("s/sweep.json", R"({"format":1,"name":"study","arms":[{"name":"a","baseline":0}],"cells":[)"
                               R"({"name":"a-s3","arm":0,"seed":3},{"name":"a-s4","arm":0,"seed":4}]})");
  for (const char* subject : {"run", "s"}) {
    const std::string page = report_of(subject);
    CHECK(count(page, "<caption>Real images against real ones: the floor") == 1);
    CHECK(count(page, "<th scope=\"row\">a.kernel</th>") == 1);
    CHECK(page.find("0.0125 (standard error 0.002)") != std::string::npos);
    CHECK(page.find("1277") != std::string::npos);
    CHECK(page.find("&lt;i&gt;held.zip") != std::string::npos);
    CHECK(page.find("<i>held") == std::string::npos);
  }
}

TEST_CASE("a report shows samples beside the nearest images, only of the last checkpoint and only images") {
  const TemporaryFolder folder;
  folder.write("run/config.toml", kConfig);
  folder.write("run/metrics.jsonl", line(10000));
  const auto record = [](int images, const std::string& picture) {
    return text(R"({"what":"nearest","checkpoint_images":)", images, R"(,"judge":"<i>","feature":"f","reference":"d",)",
                R"("reference_num":50,"between_reference":1.5,"images":[{"index":0,"image":")", picture,
                R"(","nearest":[{"index":41,"distance":0.25,"image":")", picture, R"("}]},7]})");
  };
  const std::string picture = base64(kPicture);
  folder.write("run/evaluation/nearest-1.json", record(10000, picture));
  folder.write("run/evaluation/nearest-2.json", record(5000, picture));
  folder.write("run/evaluation/nearest-3.json", record(10000, "iVBORw0KGgo\\\" onerror=\\\"x"));
  folder.write("run/evaluation/nearest-4.json", record(10000, base64("GIF89a")));
  folder.write("run/evaluation/nearest-5.json", R"({"what":"nearest","checkpoint_images":10000,"images":{}})");
  const std::string page = report_of("run");
  CHECK(count(page, "src=\"data:image/png;base64,") == 2);
  CHECK(page.find("alt=\"Image 41 of the data, at the distance 0.25 from sample 0\"") != std::string::npos);
  CHECK(page.find("of the feature f of &lt;i&gt;.") != std::string::npos);
  CHECK(page.find("onerror") == std::string::npos);
  std::filesystem::remove("run/evaluation/nearest-1.json");
  const std::string without = report_of("run");
  CHECK(count(without, "src=\"data:image/png;base64,") == 0);
  CHECK(without.find("Not shown: those of the checkpoint at 5000 images.") != std::string::npos);
  std::filesystem::remove("run/evaluation/nearest-2.json");
  CHECK(report_of("run").find("Nearest images") == std::string::npos);
}

TEST_CASE("a report says which pictures it does not show") {
  const TemporaryFolder folder;
  folder.write("run/config.toml", kConfig);
  folder.write("run/metrics.jsonl", line(10000));
  folder.write("run/samples/5000.png", kPicture);
  folder.write("run/samples/10000.png", kPicture + std::string(17 << 20, '\0'));
  const std::string picture = base64(kPicture + std::string(5 << 20, '\0'));
  folder.write("run/evaluation/nearest-1.json",
               text(R"({"what":"nearest","checkpoint_images":10000,"images":[{"index":0,"image":")", picture,
                    R"(","nearest":[{"index":41,"distance":0.25,"image":")", picture, R"("}]}]})"));
  const std::string page = report_of("run");
  CHECK(count(page, "src=\"data:image/png;base64,") == 1);
  CHECK(page.find("<p>Not shown: 1 file of samples/ that is larger than 16 MiB, cannot be read, or no PNG.</p>") !=
        std::string::npos);
  CHECK(page.find("<p>Not shown: records beyond 8 MiB.</p>") != std::string::npos);
}

TEST_CASE("a page that somebody has changed is not replaced") {
  const TemporaryFolder folder;
  folder.write("run/config.toml", "[run]\nname = \"a\"\n");
  folder.write("run/report.html", report_of("run"));
  CHECK_NOTHROW(refuse_other_page("report", "run/report.html"));
  folder.write("run/report.html", read_file("run/report.html") + "<p>mine</p>\n");
  CHECK(message_of<ConfigError>([] { refuse_other_page("report", "run/report.html"); }).find("or was changed since") !=
        std::string::npos);
}

TEST_CASE("the page of another run is not replaced") {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b"}) folder.write(text(name, "/config.toml"), text("[run]\nname = \"", name, "\"\n"));
  folder.write("page.html", report_of("a"));
  CHECK_NOTHROW(refuse_page_of_another("report", "page.html", report_of("a")));
  CHECK_NOTHROW(refuse_page_of_another("report", "none.html", report_of("b")));
  CHECK(message_of<ConfigError>([] {
          refuse_page_of_another("report", "page.html", report_of("b"));
        }).find("page.html is the page of another run or sweep") != std::string::npos);
  // One of the same name elsewhere is another one; one that was moved is not.
  folder.write("other/a/config.toml", "[run]\nname = \"a\"\n");
  CHECK(message_of<ConfigError>([] {
          refuse_page_of_another("report", "page.html", report_of("other/a"));
        }).find("page of another run") != std::string::npos);
  std::filesystem::rename("a", "moved");
  CHECK_NOTHROW(refuse_page_of_another("report", "page.html", report_of("moved")));
  folder.write("moved/metrics.jsonl", line(10));
  CHECK(message_of<ConfigError>([] {
          refuse_page_of_another("report", "page.html", report_of("moved"));
        }).find("page of another run") != std::string::npos);
  folder.write("b&<\"c\">/a/config.toml", "[run]\nname = \"a\"\n");
  folder.write("page.html", report_of("b&<\"c\">/a"));
  CHECK(message_of<ConfigError>([] {
          refuse_page_of_another("report", "page.html", report_of("other/a"));
        }).find("page of another run") != std::string::npos);
}

TEST_CASE("for something that is not a run, or a damaged plan, a report is refused with the reason") {
  const TemporaryFolder folder;
  folder.write("s/sweep.json", "{\"format\":1}");
  CHECK(message_of<Error>([] { report_of("s"); }) == "s/sweep.json cannot be used: it has no 'name'");
  CHECK(message_of<ConfigError>([] { report_of("none"); }) == "\"none\" does not exist");
}
