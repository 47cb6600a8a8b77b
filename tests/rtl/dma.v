// Requests the bursts of one transfer after another, as many ahead as are allowed and as the FIFO
// behind it has room for (FIFO_BURSTS = 0: there is none).
//
// `data_valid` in cycle t: a burst is in the FIFO from t on.  `consumed` in cycle t: so many have
// left it.  A place that one leaves in t is requested for in t, and when the last one leaves, the
// next transfer's first request goes out in that same cycle.

module dma #(
    parameter OUTSTANDING = 8,
    parameter FIFO_BURSTS = 8
) (
    input  wire        clk,
    input  wire        reset,
    input  wire        job_valid,
    output wire        job_ready,
    input  wire [31:0] job_first,
    input  wire [31:0] job_count,
    output wire        job_done,
    output wire        request_valid,
    input  wire        request_ready,
    output wire [31:0] request_burst,
    input  wire        data_valid,
    input  wire [7:0]  consumed
);
    reg active;
    reg [31:0] next, to_request, to_consume;
    reg [15:0] outstanding, reserved;
    wire [15:0] outstanding_now = outstanding - 16'(data_valid);
    wire [15:0] reserved_now = reserved - 16'(consumed);
    wire begins = job_valid && job_ready;
    wire request = request_valid && request_ready;
    wire [31:0] left = begins ? job_count : to_request;

    assign job_done = active && to_consume == 32'(consumed);
    assign job_ready = !active || job_done;
    assign request_valid = (begins || (active && to_request != 0))
        && outstanding_now < 16'(OUTSTANDING)
        && (FIFO_BURSTS == 0 || reserved_now < 16'(FIFO_BURSTS));
    assign request_burst = begins ? job_first : next;

    always @(posedge clk)
        if (reset) begin
            active <= 1'b0;
            to_request <= 0;
            outstanding <= 0;
            reserved <= 0;
        end else begin
            active <= begins || (active && !job_done);
            next <= request_burst + 32'(request);
            to_request <= left - 32'(request);
            to_consume <= begins ? job_count : to_consume - 32'(consumed);
            outstanding <= outstanding_now + 16'(request);
            reserved <= reserved_now + 16'(request);
        end
endmodule
