// Pictures with any number of labels: their tables, their metrics, their loss.
#include "tools/tasks/multilabel/label_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/tools/temporary_folder.h"
#include "tools/report/png.h"
#include "tools/tasks/multilabel/label_task.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;

// A picture of its own for each number.
void picture(const fs::path& path, int number) {
  fs::create_directories(path.parent_path());
  Image image(8, 8, 3);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] =
        static_cast<std::uint8_t>((i * 7 + static_cast<std::size_t>(number) * 31) % 256);
  }
  write_png(path, image);
}

void text(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << content;
}

// The labels of each picture by its file's name.
std::map<std::string, std::set<std::string>> labels_in(
    const LabelledData& data, const std::shared_ptr<const Dataset>& split) {
  std::map<std::string, std::set<std::string>> found;
  for (std::int64_t i = 0; split && i < split->size(); ++i) {
    for (std::int64_t k : data.sets[static_cast<std::size_t>(split->label(i))]) {
      found[fs::path(split->name(i)).filename().string()].insert(
          data.labels[static_cast<std::size_t>(k)]);
    }
  }
  return found;
}

const DataOptions kNoDraw{.validation_fraction = 0};

TEST(LabelTable, IsReadWithHeadingQuotesSplitsAndBlanks) {
  TemporaryFolder folder;
  for (int i = 0; i < 4; ++i) picture(folder / ("p" + std::to_string(i) + ".png"), i);
  picture(folder / "a,b.png", 9);
  text(folder / "labels.csv",
       "\xEF\xBB\xBF"
       "file,labels,split\r\np0.png, cat ; dog ,train\r\np1.png,dog,train\np2.png,,val\n\n"
       "p3.png,cat;cat,test\n\"a,b.png\",\"cat;the \"\"sea\"\"\",train\n");
  const LabelledData data = open_labelled(folder.path(), kNoDraw, {}, false);
  EXPECT_EQ(data.labels, (std::vector<std::string>{"cat", "dog", "the \"sea\""}));
  EXPECT_EQ(
      labels_in(data, data.splits.train),
      (std::map<std::string, std::set<std::string>>{
          {"p0.png", {"cat", "dog"}}, {"p1.png", {"dog"}}, {"a,b.png", {"cat", "the \"sea\""}}}));
  EXPECT_EQ(labels_in(data, data.splits.test),
            (std::map<std::string, std::set<std::string>>{{"p3.png", {"cat"}}}));
  ASSERT_NE(data.splits.validation, nullptr);
  EXPECT_EQ(data.splits.validation->size(), 1);
  EXPECT_TRUE(labels_in(data, data.splits.validation).empty());  // a picture may have none
}

TEST(LabelTable, MayLieInEachSplitsFolder) {
  TemporaryFolder folder;
  picture(folder / "train/0.png", 0);
  picture(folder / "train/1.png", 1);
  picture(folder / "valid/2.png", 2);
  text(folder / "train/labels.csv", "0.png,a\n1.png,a;b\n");
  text(folder / "valid/labels.csv", "2.png,b\n");
  EXPECT_TRUE(has_label_table(folder.path()));
  const LabelledData data = open_labelled(folder.path(), kNoDraw, {}, false);
  EXPECT_EQ(data.splits.train->size(), 2);
  EXPECT_EQ(data.splits.validation->size(), 1);
}

TEST(LabelFolders, APictureInSeveralHasAllTheirLabels) {
  TemporaryFolder folder;
  picture(folder / "cat/0.png", 0);
  picture(folder / "dog/1.png", 1);
  fs::copy(folder / "cat/0.png", folder / "dog/copy-of-0.png");
  fs::create_symlink(folder / "dog/1.png", folder / "cat/link.png");
  picture(folder / "dog/2.png", 2);
  EXPECT_FALSE(has_label_table(folder.path()));
  const LabelledData data = open_labelled(folder.path(), kNoDraw, {}, false);
  ASSERT_EQ(data.splits.train->size(), 3);
  std::multiset<std::size_t> counts;
  for (const auto& [name, labels] : labels_in(data, data.splits.train))
    counts.insert(labels.size());
  EXPECT_EQ(counts, (std::multiset<std::size_t>{1, 2, 2}));
}

TEST(LabelTable, FaultsAreToldWithFileAndLine) {
  TemporaryFolder folder;
  picture(folder / "0.png", 0);
  picture(folder / "1.png", 1);
  const auto refused = [&](const std::string& table, const std::vector<std::string>& labels,
                           std::initializer_list<const char*> says) {
    text(folder / "labels.csv", table);
    const std::string message =
        usage_message([&] { open_labelled(folder.path(), kNoDraw, labels, false); });
    for (const char* part : says) {
      EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
    }
  };
  refused("0.png,a\n2.png,b\n", {}, {"labels.csv, line 2", "2.png"});
  refused("0.png,a\n1.png\n", {}, {"line 2", "1 fields"});
  refused("0.png,a,b,c,d\n", {}, {"line 1", "5 fields"});
  refused("0.png,a\n1.png,b,blue\n", {}, {"line 2", "'blue' is no split"});
  refused("0.png,a\n../../etc/passwd,b\n", {}, {"line 2"});
  refused("0.png,a\n1.png,a\n", {}, {"1 labels", "at least two"});
  refused("0.png,a\n1.png,z\n", {"a", "b"}, {"'z'", "a, b"});
  refused("file,labels\n", {}, {"names no pictures"});
}

TEST(LabelTable, KeepsATrainedModelsOrder) {
  TemporaryFolder folder;
  picture(folder / "0.png", 0);
  picture(folder / "1.png", 1);
  text(folder / "labels.csv", "0.png,a\n1.png,b;c\n");
  const LabelledData data = open_labelled(folder.path(), kNoDraw, {"c", "b", "a"}, false);
  const LabelSource source(data.splits.train, Pipeline({ToTensor{}}), data.sets, 3);
  ASSERT_EQ(source.types()[1].second.shape, Shape({3}));
  std::set<std::vector<float>> rows;
  for (std::int64_t i = 0; i < source.size(); ++i) {
    std::vector<float> image(8 * 8 * 3), labels(3);
    void* const out[] = {image.data(), labels.data()};
    source.load(i, {}, out);
    rows.insert(labels);
  }
  EXPECT_EQ(rows, (std::set<std::vector<float>>{{0, 0, 1}, {1, 1, 0}}));
}

LabelMetrics metrics_of(const std::vector<std::vector<float>>& probabilities,
                        const std::vector<std::vector<float>>& labels) {
  const auto n = static_cast<std::int64_t>(labels.size()),
             k = static_cast<std::int64_t>(labels[0].size());
  LabelMetrics metrics(k);
  Tensor p({DType::f32, {n, k}}), l({DType::f32, {n, k}});
  for (std::size_t i = 0; i < labels.size(); ++i) {
    std::copy(probabilities[i].begin(), probabilities[i].end(),
              p.values<float>().begin() + static_cast<std::ptrdiff_t>(i * labels[0].size()));
    std::copy(labels[i].begin(), labels[i].end(),
              l.values<float>().begin() + static_cast<std::ptrdiff_t>(i * labels[0].size()));
  }
  Batch batch;
  batch.tensors = {{"labels", l}};
  for (std::int64_t i = 0; i < n; ++i) batch.indices.push_back(i);
  metrics.add(batch, Tensor::full({DType::f32, {n}}, 0.5), p);
  return metrics;
}

// By hand: label 0 has its positives at ranks 1, 3 and 4 of 5: (1 + 2/3 + 3/4) / 3. Label 1 has
// three equal probabilities at the top, two of them right: 2/3 for both. Label 2 never occurs.
TEST(LabelMetrics, AveragePrecisionByHand) {
  const LabelMetrics m = metrics_of({{0.9f, 0.7f, 0.1f},
                                     {0.8f, 0.7f, 0.2f},
                                     {0.6f, 0.7f, 0.9f},
                                     {0.4f, 0.2f, 0.3f},
                                     {0.1f, 0.1f, 0.4f}},
                                    {{1, 1, 0}, {0, 1, 0}, {1, 0, 0}, {1, 0, 0}, {0, 0, 0}});
  const double first = (1 + 2. / 3 + 3. / 4) / 3;
  EXPECT_NEAR(m.average_precision(0), first, 1e-12);
  EXPECT_NEAR(m.average_precision(1), 2. / 3, 1e-12);
  EXPECT_TRUE(std::isnan(m.average_precision(2)));
  EXPECT_NEAR(m.score(), (first + 2. / 3) / 2, 1e-12);
  EXPECT_NEAR(m.loss(), 0.5, 1e-12);
  EXPECT_NEAR(m.precision(0), 2. / 3, 1e-12);  // 0.9, 0.8, 0.6: two of three
  EXPECT_NEAR(m.recall(0), 2. / 3, 1e-12);
  EXPECT_NEAR(m.f1(0), 2. / 3, 1e-12);
  EXPECT_EQ(m.precision(2), 0);
  EXPECT_EQ(m.support(0), 3);
}

// The loss of a picture is the mean over its labels of -log of what each answer gives the truth.
TEST(LabelTask, LossAndProbabilitiesAreThoseOfOneSigmoidPerLabel) {
  ModelConfig config;
  config.classes = 3;
  config.image_size = 4;
  const LabelTask task(config);
  const std::vector<float> logits = {2, -1, 0.5f, -30, 30, 0}, labels = {1, 0, 1, 0, 1, 1};
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var z = tape.input("logits", Tensor::from<float>({2, 3}, logits));
  const Var t = tape.input("labels", Tensor::from<float>({2, 3}, labels));
  const Var loss = task.loss({{"labels", t}}, {{"logits", z}}).samples;
  const Var p = task.predictions({{"logits", z}});
  for (std::int64_t n = 0; n < 2; ++n) {
    double expected = 0;
    for (std::int64_t k = 0; k < 3; ++k) {
      const auto i = static_cast<std::size_t>(3 * n + k);
      const double probability = 1 / (1 + std::exp(-double{logits[i]}));
      expected -= std::log(labels[i] > 0 ? probability : 1 - probability) / 3;
      EXPECT_NEAR(p.value().item(static_cast<std::int64_t>(i)), probability, 1e-6);
    }
    EXPECT_NEAR(loss.value().item(n), expected, 1e-5);
  }
}

}  // namespace
}  // namespace tapescope::tasks
