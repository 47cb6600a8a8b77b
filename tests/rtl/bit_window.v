// Input window of a decoder lane: words of 64 bits go in, any number of bits up to 64 comes out.
//
// The bits at hand are the low `level` bits, of which the first LOOK can be seen.  A word is taken in any cycle after which
// all of it fits, so that a lane which takes up to 49 bits a cycle never waits while words come.

module bit_window #(
    parameter LOOK = 48
) (
    input  wire         clk,
    input  wire         clear,
    input  wire         discard,
    input  wire         word_valid,
    output wire         word_ready,
    input  wire [63:0]  word,
    input  wire [6:0]   take,
    output reg  [7:0]   level,
    output wire [LOOK-1:0] bits
);
    reg [127:0] held;
    wire [7:0] kept = level - {1'b0, take};
    wire refill = word_valid && word_ready && !discard;

    assign bits = held[LOOK-1:0];
    assign word_ready = discard || kept <= 64;

    always @(posedge clk)
        if (clear) begin
            level <= 0;
            held <= 0;
        end else begin
            level <= refill ? kept + 8'd64 : kept;
            held <= (held >> take) | (refill ? {64'b0, word} << kept : 128'b0);
        end
endmodule
