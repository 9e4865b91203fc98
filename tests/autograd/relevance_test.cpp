// Relevance rules and composites against numbers worked out in another program.
#include "autograd/explain/relevance.h"
#include "autograd/explain/composite_by_name.h"

#include <gtest/gtest.h>

#include "autograd/ops/ops.h"
#include "tests/autograd/explain_cases.h"

namespace tapescope::explain {
namespace {

// --- one linear node: W = [[1,-2,.5],[-1.5,.25,2]], b = [.5,-.25], x = [2,-1,3], R = [1,2]

struct OneNode {
  Tape tape{Device::cpu(), Mode::evaluation};
  Var x = tape.input("x", f32({1, 3}, {2, -1, 3}));
  std::vector<float> relevance(const Rule& rule, Ledger* ledger = nullptr, bool negate = false) {
    const float s = negate ? -1.0f : 1.0f;
    const Var y =
        linear(x, tape.constant(f32({2, 3}, {s, -2 * s, .5f * s, -1.5f * s, .25f * s, 2 * s})),
               tape.constant(f32({2}, {.5f * s, -.25f * s})));
    const Var seed = tape.constant(f32({1, 2}, {1, 2})), wrt[] = {x};
    return numbers(explain::relevance(tape, y, wrt, only(rule), seed, ledger)[0].value());
  }
};

TEST(Rule, OnOneLinearNode) {
  using namespace rules;
  const struct {
    Rule rule;
    std::vector<float> expected;
  } cases[] = {
      {epsilon(), {-2.06666576f, .13333336f, 5.04999804f}},
      {without_bias(epsilon()), {-1.81818109f, .18181818f, 4.63636200f}},
      {epsilon(1.0), {-1.42857143f, .14285714f, 3.64285714f}},
      {z_plus(), {.33333328f, .33333328f, 2.24999963f}},
      {without_bias(z_plus()), {.36363630f, .36363630f, 2.27272689f}},
      {alpha_beta(2, 1), {-1.04761867f, .52380945f, 4.49999925f}},
      {without_bias(alpha_beta(2, 1)), {-1.11888068f, .57342649f, 4.54545378f}},
      {gamma(.25), {-1.16666634f, .20833332f, 3.99999903f}},
      {without_bias(gamma(.25)), {-1.04812806f, .24598928f, 3.80213817f}},
      {z_box(-3, 3), {.52678568f, .57142854f, 1.90178558f}},
      // Bounds for each input: z = [16.5, 7.75], 5/16.5 + 2 * 1.5/7.75 and so on.
      {z_box(std::vector<double>{-3, -2, 0}, std::vector<double>{3, 4, 5}),
       {.69012708f, .67057679f, 1.63929622f}},
      {w_square(), {.88770039f, .74688044f, 1.30035630f}},
      {without_bias(w_square()), {.90334733f, .78170659f, 1.31494557f}},
      {flat(), {1, 1, 1}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.rule.name);
    expect_near(OneNode().relevance(c.rule), c.expected, 5e-6f);
  }
  expect_near(OneNode().relevance(gamma(.25), nullptr, true),
              {-1.16666634f, .20833332f, 3.99999903f}, 5e-6f);
}

TEST(Ledger, NamesTheEmptyNegativePart) {
  OneNode one;
  Ledger ledger;
  const std::vector<float> r = one.relevance(rules::alpha_beta(2, 1), &ledger);
  EXPECT_NEAR(r[0] + r[1] + r[2], 3.976, 1e-3);
  ASSERT_EQ(ledger.rows.size(), 1u);
  EXPECT_NEAR(ledger.rows[0].arrived.value().item(), 3, 1e-6);
  // The first output has nothing that speaks against it and gives out twice what it got.
  EXPECT_NEAR(ledger.rows[0].empty.value().item(), -1, 1e-5);
  EXPECT_NEAR(ledger.reached.value().item() + ledger.rows[0].bias.value().item() +
                  ledger.rows[0].stabiliser.value().item() + ledger.rows[0].empty.value().item(),
              3, 1e-5);
}

// A rule that hands out half of what it got is seen by the accounts.
TEST(Ledger, FindsARuleThatLosesRelevance) {
  Rule rule = rules::z_plus();
  rule.groups[0].coefficient = 0.5;
  OneNode one;
  Ledger ledger;
  one.relevance(rule, &ledger);
  const LedgerRow& row = ledger.rows[0];
  const double out = row.passed_on.value().item() + row.bias.value().item() +
                     row.stabiliser.value().item() + row.empty.value().item();
  EXPECT_NEAR(row.arrived.value().item(), 3, 1e-6);
  EXPECT_NEAR(out, 1.5, 1e-4);
}

// --- small nets

TEST(Relevance, OfATwoLayerNet) {
  const auto net = [](Tape& tape, Var x, float first) {
    std::vector<float> w(9, 2.0f);
    w[0] = first;
    const Var hidden = relu(linear(x, tape.constant(f32({3, 3}, w))));
    return linear(hidden, tape.constant(f32({1, 3}, {3, 3, 3})));
  };
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({2, 3}, {1, 2, 3, 3, 6, 9}));
  const Var y = class_of(tape, net(tape, x, 2), 0);
  EXPECT_EQ(y.value().item(), 108);
  expect_near(numbers(tape.relevance(y, {x}, lrp::epsilon())[0].value()),
              {18, 36, 54, 54, 108, 162}, 1e-3f);

  const auto with = [&](Rule first, Rule last) {
    Tape other(Device::cpu(), Mode::evaluation);
    const Var in = other.input("x", f32({1, 3}, {1, 2, 3}));
    const Var out = class_of(other, net(other, in, -2), 0);
    Composite composite("two rules");
    composite.on(first_linear(), std::move(first)).on(last_linear(), std::move(last));
    return numbers(other.relevance(out, {in}, with_defaults(composite))[0].value());
  };
  expect_near(with(rules::gamma(1), rules::gamma(.25)), {28 / 3.f, 104 / 3.f, 52}, 1e-3f);
  expect_near(with(rules::z_plus(), rules::z_plus()), {12, 33.6f, 50.4f}, 1e-3f);
  expect_near(with(rules::pass(), rules::epsilon()), {24, 36, 36}, 1e-3f);
}

// conv 1->2 (3x3 of ones, bias -50 and -75), relu, flatten, linear.
TEST(Relevance, OfTheOnesNetAndItsHiddenLayer) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", counting_image());
  const Var conv = conv2d(x, tape.constant(f32({2, 3, 3, 1}, std::vector<float>(18, 1.0f))),
                          tape.constant(f32({2}, {-50, -75})), {});
  const std::vector<float> row = {1, 1, 1, 1, 1, -1, -1, -1};
  std::vector<float> rows;
  for (int i = 0; i < 4; ++i) rows.insert(rows.end(), row.begin(), row.end());
  const Var y = class_of(tape, linear(flatten(relu(conv)), tape.constant(f32({4, 8}, rows))), 0);
  const std::vector<Var> r = tape.relevance(y, {x, conv}, lrp::epsilon());
  expect_near(numbers(r[0].value()), {0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 0, 0, 0}, 1e-3f);
  EXPECT_NEAR(total(r[0].value()), 54, 1e-3);
  expect_near(numbers(r[1].value()), {0, 0, 4, 0, 31, -6, 40, -15}, 1e-3f);
  // Guided backpropagation and the deconvolutional network.
  expect_near(numbers(tape.relevance(y, {x}, guided_backprop())[0].value()),
              {0, 1, 1, 1, 1, 3, 3, 2, 1, 3, 3, 2, 1, 2, 2, 1}, 1e-5f);
  expect_near(numbers(tape.relevance(y, {x}, deconvnet())[0].value()),
              {2, 3, 3, 1, 3, 5, 5, 2, 3, 5, 5, 2, 1, 2, 2, 1}, 1e-5f);
}

TEST(Relevance, OfAResidualSumIsSharedOutOnce) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 2}, {2, 3}));
  const Var y = add(linear(x, tape.constant(f32({2, 2}, {5, 5, 5, 5}))), x);
  expect_near(numbers(tape.relevance(class_of(tape, y, 1), {x}, lrp::epsilon())[0].value()),
              {10, 18}, 1e-4f);
}

TEST(Relevance, OfAMaxPoolGoesToTheWinner) {
  // Twice the sum of each row, 6 and 22, and the larger of them.
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 2, 2, 1}, {1, 2, 5, 6}));
  const Var sums = conv2d(x, tape.constant(f32({1, 1, 2, 1}, {2, 2})), {}, {});
  const Var largest = max_pool2d(sums, {.kernel_h = 2, .kernel_w = 1});
  const Var y = class_of(tape, flatten(largest), 0);
  EXPECT_EQ(y.value().item(), 22);
  expect_near(numbers(tape.relevance(y, {x}, lrp::epsilon())[0].value()), {0, 0, 10, 12}, 1e-4f);
  const Var pooled = class_of(tape, flatten(max_pool2d(x, {})), 0);
  expect_near(numbers(tape.relevance(pooled, {x}, lrp::epsilon())[0].value()), {0, 0, 0, 6}, 0);
}

// x = (1,2), weights (3,-1): z = 1, which a factor of -2 and a shift of 5 make 3. Folded: weights
// (-6,2) and a bias of 5. The signs have turned, so what z-plus counts as positive has, too.
TEST(Relevance, OfZPlusDependsOnFoldingWhereThatOfEpsilonDoesNot) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 2}, {1, 2}));
  const auto one = [&](float v) { return tape.constant(f32({1}, {v})); };
  const Var z = linear(x, tape.constant(f32({1, 2}, {3, -1})));
  const Var y = class_of(tape, batch_norm_inference(z, one(-2), one(5), one(0), one(1 - 1e-5f)), 0);
  const auto map = [&](Rule rule, bool fold) {
    Composite composite = only(std::move(rule));
    return numbers(tape.relevance(y, {x}, composite.fold_batch_norm(fold))[0].value());
  };
  expect_near(map(rules::z_plus(), true), {0, 4 / 3.f}, 1e-4f);  // 4 of 4 + 5
  expect_near(map(rules::z_plus(), false), {-2, 0}, 1e-4f);      // z owes -2, all of it to 3 * 1
  for (const bool fold : {true, false}) expect_near(map(rules::epsilon(), fold), {-6, 4}, 1e-4f);
}

TEST(Relevance, PassesTanhUnchanged) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 3}, {1, 2, 3}));
  const Var hidden = linear(x, tape.constant(f32({3, 3}, std::vector<float>(9, .1f))));
  const Var y = linear(tapescope::tanh(hidden), tape.constant(f32({1, 3}, {.1f, .1f, .1f})));
  const std::vector<Var> r = tape.relevance(class_of(tape, y, 0), {x, hidden}, lrp::epsilon());
  expect_near(numbers(r[0].value()), {.0268525f, .0537050f, .0805574f}, 1e-5f);
  expect_near(numbers(r[1].value()), {.0537050f, .0537050f, .0537050f}, 1e-5f);
}

// Two inputs a and 3a, added inside: the sum's relevance is split, never handed to both.
TEST(Ledger, ASumOfTwoInputsSplitsItsRelevance) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var a = tape.input("a", f32({1, 3}, {1, 2, 3})),
            b = tape.input("b", f32({1, 3}, {3, 6, 9}));
  const Var both = linear(add(a, b), tape.constant(f32({3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1})));
  const Var hidden = relu(linear(both, tape.constant(f32({4, 3}, std::vector<float>(12, 1.0f))),
                                 tape.constant(f32({4}, {-10, 1, 1, 1}))));
  const Var y = linear(hidden, tape.constant(f32({2, 4}, std::vector<float>(8, 1.0f))),
                       tape.constant(f32({2}, {-1, 1})));
  const Var target = class_of(tape, y, 0), wrt[] = {a, b};
  EXPECT_EQ(target.value().item(), 88);
  Ledger ledger;
  const std::vector<Var> r = relevance(tape, target, wrt, lrp::epsilon(1e-7), {}, &ledger);
  expect_near(numbers(r[0].value()), {4, 8, 12}, 1e-3f);
  expect_near(numbers(r[1].value()), {12, 24, 36}, 1e-3f);
  double bias = 0;
  for (const LedgerRow& row : ledger.rows) {
    bias += row.bias.value().item();
    if (row.path == "add") {
      EXPECT_NEAR(row.arrived.value().item(), 96, 1e-3);
      EXPECT_NEAR(row.passed_on.value().item(), 96, 1e-3);
    }
  }
  EXPECT_NEAR(bias, -8, 1e-3);
}

// --- composites on a net of two convolutions and a linear layer

struct TwoConvNet {
  Tape tape{Device::cpu(), Mode::evaluation};
  Var x, h1, h2, y;
  TwoConvNet() {
    x = tape.input("x", counting_image());
    const Var w1 =
        tape.constant(f32({2, 3, 3, 1}, {0, 1, 0, 1, -2, 1, 0, 1, 0, 1, 0, 0, 0, -1, 0, 0, 0, 1}));
    h1 = relu(conv2d(x, w1, tape.constant(f32({2}, {0, -1})), {}));
    const Var w2 =
        tape.constant(f32({2, 2, 2, 2}, {1, -1, -1, 0, 0, 1, 1, 0, -1, 1, 0, 1, 0, -1, 0.5, 0}));
    h2 = relu(conv2d(h1, w2, tape.constant(f32({2}, {1, -0.5})), {}));
    y = linear(flatten(h2), tape.constant(f32({2, 2}, {1, -2, -1, 4})),
               tape.constant(f32({2}, {3, -1})));
  }
};

// h1 with its first channel row by row, then its second.
std::vector<float> by_channel(const Tensor& map) {
  std::vector<float> values;
  for (std::int64_t c = 0; c < 2; ++c) {
    for (std::int64_t p = 0; p < 4; ++p) values.push_back(static_cast<float>(map.item(2 * p + c)));
  }
  return values;
}

TEST(Composite, OnTheTwoConvNet) {
  const std::vector<float> plus_h1 = {5.897436f, 0,         0,         11.268555f,
                                      -.210526f, -.263158f, 4.717948f, 0};
  const struct {
    Composite composite;
    int target;
    std::vector<float> h2, h1, x;
    double sum;
  } cases[] = {
      {lrp::epsilon(),
       0,
       {23, -1},
       {30, -12, 0, 0, -12, -10, 24, 0},
       {0, 1, -2, 0, 24, -20, 42, -7, 0, 0, -40, -22, 0, 0, 42, 0},
       18},
      {lrp::epsilon(),
       1,
       {-23, 2},
       {},
       {0, -1, 2, 0, -40, 30, -60, 7, 0, 9, 40, 55, 0, 0, -56, 0},
       -14},
      {lrp::epsilon_plus(),
       0,
       {23, -1},
       plus_h1,
       {0, .272942f, 0, 0, 2.227920f, 0, 3.459514f, 0, 0, 5.189271f, -.210526f, 2.857625f, 0, 0,
        7.613509f, 0},
       21.41025},
      {lrp::epsilon_plus_flat(),
       0,
       {23, -1},
       plus_h1,
       {.631879f, .602639f, .602639f, -.029240f, 1.156095f, 2.378917f, 2.378917f, 1.222822f,
        1.156095f, 2.378917f, 2.378917f, 1.222822f, .524216f, 1.776278f, 1.776278f, 1.252062f},
       21.41025},
      {lrp::epsilon_plus_flat(),
       1,
       {-23, 2},
       {},
       {-.608487f, -.550007f, -.550007f, .058480f, -1.132703f, -2.267806f, -2.267806f, -1.135103f,
        -1.132703f, -2.267806f, -2.267806f, -1.135103f, -.524216f, -1.717798f, -1.717798f,
        -1.193582f},
       -20.41025},
      {lrp::epsilon_gamma_box(0, 15),
       0,
       {23, -1},
       {10.683387f, -8.427480f, 0, 15.176299f, -3.761541f, -1.190476f, 8.546709f, 0},
       {0, .210395f, -.401309f, 0, 2.492790f, 2.457651f, -.698317f, -1.404580f, 0, 7.272173f,
        -.852054f, 2.715203f, 0, 0, 9.234944f, 0},
       21.02690},
      {lrp::epsilon_gamma_box(0, 15),
       1,
       {-23, 2},
       {-12.588148f, 8.427480f, 0, -12.795347f, 4.713922f, 2.380952f, -10.070519f, 0},
       {0, -.201325f, .401309f, 0, -2.937234f, -2.933842f, 1.208521f, 1.404580f, 0, -7.653125f,
        1.804434f, -1.567811f, 0, 0, -9.457166f, 0},
       -19.93166},
      {lrp::epsilon_gamma_box(),
       0,
       {23, -1},
       {},  // the image's own range is [0, 15]
       {0, .210395f, -.401309f, 0, 2.492790f, 2.457651f, -.698317f, -1.404580f, 0, 7.272173f,
        -.852054f, 2.715203f, 0, 0, 9.234944f, 0},
       21.02690},
      {excitation_backprop(true),
       0,
       {22.115384f, 0},
       {5.670611f, 0, 0, 11.341222f, 0, 0, 4.536489f, 0},
       {0, .283531f, 0, 0, 2.142231f, 0, 3.402367f, 0, 0, 5.103550f, 0, 3.118836f, 0, 0, 7.497808f,
        0},
       21.54832},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.composite.name() + " of class " + std::to_string(c.target));
    TwoConvNet net;
    const Var target = class_of(net.tape, net.y, c.target);
    const std::vector<Var> r =
        net.tape.relevance(target, {net.x, net.h1, net.h2}, c.composite, target);
    expect_near(numbers(r[2].value()), c.h2, 2e-4f);
    if (!c.h1.empty()) expect_near(by_channel(r[1].value()), c.h1, 2e-4f);
    expect_near(numbers(r[0].value()), c.x, 2e-4f);
    EXPECT_NEAR(total(r[0].value()), c.sum, 5e-4);
  }
}

TEST(Composite, ByNameIsTheCompositeThatItSpells) {
  TwoConvNet net;
  const Var target = class_of(net.tape, net.y, 0);
  LrpSettings settings;
  settings.low = 0;
  settings.high = 15;
  const auto map = [&](const std::string& rules) {
    settings.rules = rules;
    return numbers(net.tape.relevance(target, {net.x}, by_names(settings), target)[0].value());
  };
  // The numbers of lrp-epsilon-gamma-box and lrp-epsilon-plus above.
  const std::vector<float> box = {0,         .210395f,   -.401309f, 0,         2.492790f, 2.457651f,
                                  -.698317f, -1.404580f, 0,         7.272173f, -.852054f, 2.715203f,
                                  0,         0,          9.234944f, 0};
  expect_near(map("conv2d=z-box, conv2d#2=gamma:0.25, *=epsilon:1e-6"), box, 2e-4f);
  expect_near(map("conv2d=zbox:0:15,conv2d#*=gamma"), box, 2e-4f);
  expect_near(map("conv*=zplus"),
              {0, .272942f, 0, 0, 2.227920f, 0, 3.459514f, 0, 0, 5.189271f, -.210526f, 2.857625f, 0,
               0, 7.613509f, 0},
              2e-4f);
  const struct {
    std::string rules, part;
  } refused[] = {{"conw*=z-plus", "no node of weights has this name; they are conv2d, conv2d#2"},
                 {"*=epsilon,conv2d=z-box", "rules before it take all of its nodes"},
                 {"conv2d", "NODES=RULE"},
                 {"conv2d=zap", "none of epsilon, gamma"},
                 {"conv2d=gamma:x", "'x' is no number"},
                 {"conv2d=epsilon:0", "not above 0"},
                 {"conv2d=z-box:1:0", "LOW is not below HIGH"},
                 {"conv2d=alpha-beta:2", "needs 2 numbers"},
                 {"conv2d=flat:1", "takes 0 numbers at most"},
                 {"", "no rules are given"}};
  for (const auto& r : refused) {
    try {
      map(r.rules);
      ADD_FAILURE() << r.rules;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(r.part), std::string::npos) << error.what();
    }
  }
}

TEST(Composite, GuidedAndDeconvnetAgreeWhereEveryUnitIsOn) {
  for (const Composite& composite : {guided_backprop(), deconvnet()}) {
    TwoConvNet net;
    expect_near(
        numbers(net.tape.relevance(class_of(net.tape, net.y, 0), {net.x}, composite)[0].value()),
        {0, 1, 0, 0, 2, -2, 2, 0, 0, 1, -2, 1, 0, 0, 2, 0}, 1e-5f);
    expect_near(
        numbers(net.tape.relevance(class_of(net.tape, net.y, 1), {net.x}, composite)[0].value()),
        {4, 4, 0, 0, 0, -4, -2, 0, 0, 2, 0, 6, 0, 0, 2, 0}, 1e-5f);
  }
}

TEST(Composite, ListsEveryNodeWithoutARuleBeforeItAppendsAny) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 3}, {1, 2, 3}));
  const Var gate = mul(x, sigmoid(x));
  const Var target = class_of(tape, log_softmax(gate), 0);
  const std::uint32_t before = tape.mark();
  try {
    tape.relevance(target, {x}, lrp::epsilon_plus());
    FAIL() << "a product and a log-softmax have no rule";
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("'mul'"), std::string::npos) << what;
    EXPECT_NE(what.find("'log_softmax'"), std::string::npos) << what;
    EXPECT_EQ(error.blame(), Blame::usage);
  }
  EXPECT_EQ(tape.mark(), before);
}

TEST(Composite, MatchesByScopeAndTakesTheFirst) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 2}, {1, -2}));
  Var y;
  {
    const Tape::Scope in(tape, "head");
    y = linear(x, tape.constant(f32({1, 2}, {1, 1})));
  }
  Composite composite("by scope");
  composite.on(scope("h*d"), rules::flat()).on(any(), rules::epsilon());
  // Scopes do not match the gather behind the head: it is the second rule's, which cannot have it.
  EXPECT_THROW(tape.relevance(class_of(tape, y, 0), {x}, composite), Error);
  Composite first("first");
  first.on(scope("h*d"), rules::flat());
  expect_near(numbers(tape.relevance(class_of(tape, y, 0), {x}, with_defaults(first))[0].value()),
              {-.5f, -.5f}, 1e-5f);
}

}  // namespace
}  // namespace tapescope::explain
