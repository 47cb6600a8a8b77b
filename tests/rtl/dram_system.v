// Three DMA channels (weights, activation loads, stores) behind one memory; only the weights have a
// FIFO, whose bursts are consumed at the decoder's pace.

module dram_system #(
    parameter OUTSTANDING = 8,
    parameter FIFO_BURSTS = 8,
    parameter BANKS = 8
) (
    input  wire        clk,
    input  wire        reset,
    input  wire [31:0] ticks,
    input  wire [31:0] burst,
    input  wire [31:0] latency,
    input  wire [31:0] row_bursts,
    input  wire [31:0] row_miss,
    input  wire [31:0] refresh_every,
    input  wire [31:0] refresh,
    input  wire        refresh_closes_rows,
    input  wire        stall,
    input  wire [2:0]  job_valid,
    output wire [2:0]  job_ready,
    input  wire [95:0] job_first,
    input  wire [95:0] job_count,
    input  wire [95:0] job_work,
    output wire [2:0]  job_done
);
    wire [2:0] request_valid, request_ready, data_valid;
    wire [95:0] request_burst, data_burst;

    memory #(.BANKS(BANKS)) memory_i (
        .clk(clk), .reset(reset), .ticks(ticks), .burst(burst), .latency(latency),
        .row_bursts(row_bursts), .row_miss(row_miss), .refresh_every(refresh_every),
        .refresh(refresh), .refresh_closes_rows(refresh_closes_rows),
        .request_valid(request_valid), .request_ready(request_ready),
        .request_burst(request_burst), .stall(stall), .data_valid(data_valid),
        .data_burst(data_burst)
    );

    genvar c;
    generate
        for (c = 0; c < 3; c = c + 1) begin : channels
            wire [7:0] consumed;
            dma #(.OUTSTANDING(OUTSTANDING), .FIFO_BURSTS(c == 0 ? FIFO_BURSTS : 0)) dma_i (
                .clk(clk), .reset(reset), .job_valid(job_valid[c]), .job_ready(job_ready[c]),
                .job_first(job_first[c*32 +: 32]), .job_count(job_count[c*32 +: 32]),
                .job_done(job_done[c]), .request_valid(request_valid[c]),
                .request_ready(request_ready[c]), .request_burst(request_burst[c*32 +: 32]),
                .data_valid(data_valid[c]), .consumed(consumed)
            );
            paced_consumer consumer (
                .clk(clk), .reset(reset), .job(job_valid[c] && job_ready[c]),
                .job_count(job_count[c*32 +: 32]), .job_work(job_work[c*32 +: 32]),
                .data_valid(data_valid[c]), .consumed(consumed)
            );
        end
    endgenerate
    wire unused = &{1'b0, data_burst};
endmodule
