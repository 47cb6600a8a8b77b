// A decoder lane's share of the burst FIFO: WORDS words come in at once, one at a time goes out.
// `released` in cycle t: the last word of a burst went out in t - 1.

module lane_fifo #(
    parameter WORDS = 2,
    parameter BURSTS = 8
) (
    input  wire                clk,
    input  wire                reset,
    input  wire                push,
    input  wire [WORDS*64-1:0] push_words,
    output wire                word_valid,
    input  wire                word_ready,
    output wire [63:0]         word,
    // All words of the oldest burst at once.
    input  wire                take_burst,
    output wire [WORDS*64-1:0] burst,
    output reg                 released
);
    localparam POINTER_BITS = (BURSTS > 1) ? $clog2(BURSTS) : 1;

    reg [WORDS*64-1:0] bursts [0:BURSTS-1];
    reg [POINTER_BITS-1:0] head, tail;
    reg [7:0] held, at;
    wire pop = word_valid && word_ready;
    wire ends_burst = take_burst || (pop && at == 8'(WORDS - 1));

    assign word_valid = held != 0;
    assign burst = bursts[head];
    assign word = bursts[head][32'(at)*64 +: 64];

    always @(posedge clk)
        if (reset) begin
            head <= 0;
            tail <= 0;
            held <= 0;
            at <= 0;
            released <= 1'b0;
        end else begin
            if (push) begin
                bursts[tail] <= push_words;
                tail <= (tail == POINTER_BITS'(BURSTS - 1)) ? 0 : tail + 1'b1;
            end
            if (ends_burst) head <= (head == POINTER_BITS'(BURSTS - 1)) ? 0 : head + 1'b1;
            if (pop || take_burst) at <= ends_burst ? 0 : at + 1'b1;
            held <= held + 8'(push) - 8'(ends_burst);
            released <= ends_burst;
        end
endmodule
