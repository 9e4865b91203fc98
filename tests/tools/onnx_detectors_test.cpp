// Detectors from ONNX files: boxes are those that ONNX Runtime's answers mean
// (tests/fixtures/make_detectors.py), worked out here once more, and what is explained are the
// numbers before the Sigmoids and the distances of the sides.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "tests/says.h"
#include "tests/tools/temporary_folder.h"
#include "tools/detection/box_explainer.h"
#include "tools/detection/box_quality.h"
#include "tools/detection/cells.h"
#include "tools/onnx/net.h"
#include "tools/report/npy.h"
#include "tools/tasks/kit.h"

namespace tapescope::detection {
namespace {

constexpr int kHeight = 64, kWidth = 96, kClasses = 3, kStrides[] = {8, 16, 32};

// What a cell says, worked out from the file's own answers.
struct Decoded {
  std::array<double, 4> box{};  // x0, y0, x1, y1
  double objectness = 1;
  std::array<double, kClasses> scores{};
  double middle_x = 0, middle_y = 0;
};

std::vector<Decoded> decoded(const Tensor& answers, std::int64_t n, const std::string& head) {
  const bool last = head == "yolov8";
  const std::int64_t cells = answers.shape()[last ? 2 : 1], numbers = answers.shape()[last ? 1 : 2];
  std::vector<Decoded> all;
  const int boxes = head == "yolov5" ? 3 : 1;
  for (const int stride : kStrides) {
    for (int b = 0; b < boxes; ++b) {
      for (int y = 0; y < kHeight / stride; ++y) {
        for (int x = 0; x < kWidth / stride; ++x) {
          const auto cell = static_cast<std::int64_t>(all.size());
          const auto at = [&](std::int64_t k) {
            return answers.item(n * cells * numbers +
                                (last ? k * cells + cell : cell * numbers + k));
          };
          std::array<double, 4> b4 = {at(0), at(1), at(2), at(3)};
          if (head == "yolox") {
            b4 = {(b4[0] + x) * stride, (b4[1] + y) * stride, std::exp(b4[2]) * stride,
                  std::exp(b4[3]) * stride};
          }
          Decoded d;
          d.box = {b4[0] - b4[2] / 2, b4[1] - b4[3] / 2, b4[0] + b4[2] / 2, b4[1] + b4[3] / 2};
          if (!last) d.objectness = at(4);
          for (int k = 0; k < kClasses; ++k) {
            d.scores[static_cast<std::size_t>(k)] = at((last ? 4 : 5) + k);
          }
          d.middle_x = (x + 0.5) * stride, d.middle_y = (y + 0.5) * stride;
          all.push_back(d);
        }
      }
    }
  }
  EXPECT_EQ(static_cast<std::int64_t>(all.size()), cells);
  return all;
}

double logit(double p) { return std::log(p / (1 - p)); }

class OnnxDetectors : public ::testing::TestWithParam<const char*> {
 protected:
  static std::string head() { return GetParam(); }
  static std::string file() { return fixture("detectors/" + head() + ".onnx").string(); }
  static bool has_objectness() { return head() != "yolov8" && head() != "yolo26"; }
  static double scale() { return head().starts_with("yolox") ? 255 : 1; }
  void SetUp() override {
    try {
      run = tasks::open_run({.run = file()});
    } catch (const Error& error) {
      if (std::string(error.what()).find("which this build does not read") == std::string::npos) {
        throw;
      }
      GTEST_SKIP() << error.what();
    }
    net = &dynamic_cast<const BoxNet&>(run->model());
    theirs = read_npy(fixture("detectors/" + head() + ".npy"));
    const Tensor squares = read_npy(fixture("detectors/squares.npy"));
    pictures = Tensor({DType::f32, {2, kHeight, kWidth, 3}});
    for (std::int64_t i = 0; i < pictures.elements(); ++i) {
      const std::int64_t c = i % 3, x = i / 3 % kWidth, y = i / 3 / kWidth % kHeight,
                         n = i / 3 / kWidth / kHeight;
      const std::int64_t from = ((n * kHeight / 8 + y / 8) * kWidth / 8 + x / 8) * 3 + c;
      pictures.values<float>()[static_cast<std::size_t>(i)] =
          static_cast<float>(squares.item(from) / 255 * scale());
    }
  }
  // The cell and class surest in the first picture.
  CellNumber surest(const Cells& cells) const {
    CellNumber best{0, 0, 0, -1};
    for (int x = 0; x < cells.width(); ++x) {
      for (int k = 0; k < kClasses; ++k) {
        if (cells.at(0, 0, x, k) > cells.at(0, 0, best.x, best.category)) best = {0, x, k, -1};
      }
    }
    return best;
  }
  std::unique_ptr<tasks::Run> run;
  const BoxNet* net = nullptr;
  Tensor theirs, pictures;
};

TEST_P(OnnxDetectors, SayWhatTheirFilesSay) {
  EXPECT_EQ(net->config().height, kHeight);
  EXPECT_EQ(net->config().width, kWidth);
  const bool named = head() == "yolov8" || head() == "yolo26";
  EXPECT_EQ(run->classes(), (named ? std::vector<std::string>{"cat", "dog's", "hen"}
                                   : std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(run->kit().name(), "detection");
  EXPECT_EQ(net->grid().levels.size(), 3u);
}

TEST_P(OnnxDetectors, AnswerTheBoxesThatTheirNumbersMean) {
  CellReader reader(*net, {});
  const Cells cells = reader.read(pictures);
  if (head() == "yolo26") {
    // Chosen within the graph: the twenty surest of all cells and classes, in order.
    const std::vector<Seen> seen = listed(cells, {.threshold = 0, .most = 20});
    ASSERT_EQ(seen.size(), 20u);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      const auto at = [&](std::int64_t k) {
        return theirs.item(static_cast<std::int64_t>(i) * 6 + k);
      };
      EXPECT_NEAR(seen[i].score, at(4), 1e-5);
      EXPECT_EQ(seen[i].category, static_cast<int>(at(5)));
      EXPECT_NEAR(seen[i].box.x, at(0), 1e-3);
      EXPECT_NEAR(seen[i].box.y, at(1), 1e-3);
      EXPECT_NEAR(seen[i].box.x + seen[i].box.w, at(2), 1e-3);
      EXPECT_NEAR(seen[i].box.y + seen[i].box.h, at(3), 1e-3);
    }
    return;
  }
  double largest = 0;
  for (std::int64_t n = 0; n < 2; ++n) {
    const std::vector<Decoded> expected = decoded(theirs, n, head());
    ASSERT_EQ(static_cast<std::int64_t>(expected.size()), cells.width());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const Decoded& e = expected[i];
      const Box box = cells.box(n, 0, static_cast<std::int64_t>(i));
      EXPECT_NEAR(box.x, e.box[0], 1e-3);
      EXPECT_NEAR(box.y, e.box[1], 1e-3);
      EXPECT_NEAR(box.x + box.w, e.box[2], 1e-3);
      EXPECT_NEAR(box.y + box.h, e.box[3], 1e-3);
      for (int k = 0; k < kClasses; ++k) {
        const double p = e.objectness * e.scores[static_cast<std::size_t>(k)];
        EXPECT_NEAR(cells.at(n, 0, static_cast<std::int64_t>(i), k), p, 1e-5);
        largest = std::max(largest, p);
      }
    }
  }
  EXPECT_GT(largest, 0.3) << "there is something to see";
}

TEST_P(OnnxDetectors, ExplainLogitsAndDistancesOfTheSides) {
  CellReader reader(*net, {});
  const Tensor x = pictures.rows(0, 1).clone();
  const Cells cells = reader.read(x);
  const CellNumber what = surest(cells);
  BoxExplainer explainer(*net, {});
  const auto value = [&](int side) {
    CellNumber number = what;
    number.side = side;
    return explainer.explain("saliency", x, number, {}).value.item();
  };
  const double p = cells.at(0, 0, what.x, what.category);
  if (has_objectness()) {
    const Decoded cell = decoded(theirs, 0, head())[static_cast<std::size_t>(what.x)];
    EXPECT_NEAR(value(-1), logit(cell.scores[static_cast<std::size_t>(what.category)]), 1e-4);
    EXPECT_NEAR(value(kObjectness), logit(cell.objectness), 1e-4);
  } else {
    EXPECT_NEAR(value(-1), logit(p), 1e-4);
    EXPECT_SAYS(usage_message([&] { value(kObjectness); }), "no 'objectness'");
  }
  const Grid::Place place = net->grid().place(0, what.x);
  const double mx = (place.x + 0.5) * place.stride, my = (place.y + 0.5) * place.stride;
  const Box box = cells.box(0, 0, what.x);
  EXPECT_NEAR(value(0), mx - box.x, 1e-3);
  EXPECT_NEAR(value(1), my - box.y, 1e-3);
  EXPECT_NEAR(value(2), box.x + box.w - mx, 1e-3);
  EXPECT_NEAR(value(3), box.y + box.h - my, 1e-3);
}

// Against differences of what the cells say: of log p, which is made of the logits' gradients, and
// of the left side.
TEST_P(OnnxDetectors, GradientsAreThoseOfTheNumbersBeforeTheSigmoids) {
  CellReader reader(*net, {});
  const Tensor x = pictures.rows(0, 1).clone();
  const CellNumber what = surest(reader.read(x));
  BoxExplainer explainer(*net, {});
  const auto gradient = [&](int side) {
    CellNumber number = what;
    number.side = side;
    std::vector<double> g;
    const explain::Attribution a = explainer.explain("input-x-gradient", x, number, {});
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      g.push_back(x.item(i) == 0 ? 0 : a.map.item(i) / x.item(i));
    }
    return std::pair{g, a.value.item()};
  };
  const auto slope = [](double z) { return 1 / (1 + std::exp(z)); };  // of log sigmoid(z)
  auto [of_score, score] = gradient(-1);
  for (double& g : of_score) g *= slope(score);
  if (has_objectness()) {
    const auto [of_object, objectness] = gradient(kObjectness);
    for (std::size_t i = 0; i < of_score.size(); ++i)
      of_score[i] += slope(objectness) * of_object[i];
  }
  const std::vector<double> of_left = gradient(0).first;
  std::size_t most = 0;
  for (std::size_t i = 0; i < of_score.size(); ++i) {
    if (std::abs(of_score[i]) > std::abs(of_score[most])) most = i;
  }
  ASSERT_NE(of_score[most], 0);
  const double step = 0.01 * scale();
  const auto moved = [&](double by) {
    Tensor changed = x.clone();
    changed.values<float>()[most] += static_cast<float>(by);
    const Cells cells = reader.read(changed);
    return std::pair{std::log(cells.at(0, 0, what.x, what.category)), -cells.box(0, 0, what.x).x};
  };
  const auto [log_up, left_up] = moved(step);
  const auto [log_down, left_down] = moved(-step);
  EXPECT_NEAR((log_up - log_down) / (2 * step), of_score[most],
              0.02 * std::abs(of_score[most]) + 1e-4 / scale());
  EXPECT_NEAR((left_up - left_down) / (2 * step), of_left[most],
              0.02 * std::abs(of_left[most]) + 2e-3 / scale());
}

TEST_P(OnnxDetectors, BoxesLieInTheFrameOfAPictureThatIsNotSquare) {
  Image image(50, 200, 3);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<std::uint8_t>(i * i % 251);
  }
  Detector detector(*net, {});
  const DetectOptions options{.threshold = 0.01f, .most = 10};
  // 200 becomes 96, 50 becomes 24 of 64: in the middle 20 are left above.
  const double scale = 0.48, top = head().starts_with("yolox") ? 0 : 20;
  const Letterbox frame = detector.letterbox(image);
  EXPECT_DOUBLE_EQ(frame.scale, scale);
  EXPECT_EQ(frame.left, 0);
  EXPECT_EQ(frame.top, top);
  const Tensor input = detector.input(image);
  // Grey where nothing of the picture lies.
  const double grey = head().starts_with("yolox") ? 114 : 114 / 255.0;
  EXPECT_NEAR(input.item(63 * kWidth * 3), grey, 1e-4);
  CellReader reader(*net, {});
  const Cells cells = reader.read(input);
  const std::vector<Seen> seen = detector.detect(image, options);
  ASSERT_FALSE(seen.empty());
  for (const Seen& s : seen) {
    const Box raw = cells.box(0, s.cell_y, s.cell_x);
    EXPECT_NEAR(s.box.x, std::clamp(raw.x / scale, 0.0, 200.0), 1e-3);
    EXPECT_NEAR(s.box.y, std::clamp((raw.y - top) / scale, 0.0, 50.0), 1e-3);
    EXPECT_NEAR(s.box.x + s.box.w, std::clamp((raw.x + raw.w) / scale, 0.0, 200.0), 1e-3);
    EXPECT_NEAR(s.box.y + s.box.h, std::clamp((raw.y + raw.h - top) / scale, 0.0, 50.0), 1e-3);
    EXPECT_EQ(s.score, cells.at(0, s.cell_y, s.cell_x, s.category));
  }
}

TEST_P(OnnxDetectors, OfOverlappingBoxesTheSurestStays) {
  CellReader reader(*net, {});
  const Cells cells = reader.read(pictures);
  // YOLO26 has one cell an object: none is suppressed, unless that is asked for.
  EXPECT_EQ(cells.selection.nms, head() == "yolo26" ? 0 : head() == "yolov8" ? 0.7 : 0.45);
  const DetectOptions options{.threshold = 0.01f, .most = 10000, .nms = 0.1};
  const std::vector<Seen> all = listed(cells, {.threshold = 0.01f, .most = 10000, .nms = 1});
  const std::vector<Seen> kept = listed(cells, options);
  std::vector<Seen> expected;
  for (const Seen& s : all) {
    bool free = true;
    for (const Seen& k : expected) {
      free = free && (k.category != s.category || iou(k.box, s.box) <= options.nms);
    }
    if (free) expected.push_back(s);
  }
  ASSERT_EQ(kept.size(), expected.size());
  EXPECT_LT(kept.size(), all.size());
  for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_EQ(kept[i].cell_x, expected[i].cell_x);
  for (const Seen& s : all) {
    const Verdict verdict = verdict_of(cells, s.cell_y, s.cell_x, s.category, options);
    const bool listed_too = std::any_of(kept.begin(), kept.end(), [&](const Seen& k) {
      return k.cell_x == s.cell_x && k.category == s.category;
    });
    EXPECT_EQ(verdict.fate, listed_too ? Fate::listed : Fate::covered);
  }
}

TEST_P(OnnxDetectors, HaveAMapThatAllBranchesOfALevelRead) {
  CellReader reader(*net, {});
  const Tensor x = pictures.rows(0, 1).clone();
  const Cells cells = reader.read(x);
  BoxExplainer explainer(*net, {});
  std::set<std::string> maps;
  for (std::size_t l = 0; l < 3; ++l) {
    int cell = 0;
    while (net->grid().place(0, cell).level != static_cast<int>(l)) ++cell;
    const std::string map = net->shared_map(0, cell);
    EXPECT_NE(map, "");
    maps.insert(map);
    const CellNumber number{0, cell, 1, -1};
    const explain::Attribution odam = explainer.explain("odam", x, number, {});
    EXPECT_EQ(odam.map.shape()[1], kHeight / kStrides[l]) << map;
    EXPECT_EQ(odam.map.shape()[2], kWidth / kStrides[l]);
    for (const char* method : {"lrp-epsilon-plus", "lrp-epsilon", "grad-cam"}) {
      const explain::Attribution a = explainer.explain(method, x, number, {});
      for (const float v : a.map.values<float>()) ASSERT_TRUE(std::isfinite(v)) << method;
    }
  }
  EXPECT_EQ(maps.size(), 3u);
}

TEST_P(OnnxDetectors, PartsAreDrawnAnewEachByItself) {
  std::set<std::string> drawn;
  for (const DetectorPart part : kDetectorParts) {
    const std::unique_ptr<BoxNet> copy = net->randomised(part, 3);
    const auto own = net->parameters(), theirs = copy->parameters();
    ASSERT_EQ(own.size(), theirs.size());
    std::size_t changed = 0;
    for (std::size_t i = 0; i < own.size(); ++i) {
      bool same = true;
      for (std::int64_t e = 0; e < own[i]->value.elements(); ++e) {
        same = same && own[i]->value.item(e) == theirs[i]->value.item(e);
      }
      if (same) continue;
      ++changed;
      EXPECT_TRUE(drawn.insert(own[i]->name).second) << own[i]->name << " is in two parts";
    }
    EXPECT_GT(changed, 0u) << static_cast<int>(part);
  }
}

INSTANTIATE_TEST_SUITE_P(, OnnxDetectors,
                         testing::Values("yolov8", "yolov5", "yolox", "yolox-placed", "yolo26"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tapescope::detection
